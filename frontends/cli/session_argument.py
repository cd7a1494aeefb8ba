"""The argument that names a session, with what a shell completes it to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from turnlog.protocol.summary import SessionSummary

_OFFERED: Final = 50  # sessions, the newest first
_TITLE_WIDTH: Final = 60


class SessionAddress(click.ParamType[str]):
    """A session, as `find_session` takes it."""

    name = "session"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the sessions that fit what is typed. Whatever is wrong, a shell shows nothing."""
        return complete_session(incomplete)


SESSION: Final = SessionAddress()


def complete_session(incomplete: str) -> list[CompletionItem]:
    """Return names, ends of ids and, once some of it is typed, whole ids; each with its title."""
    import trio

    from turnlog.protocol.errors import TurnlogError

    try:
        summaries, length = trio.run(_summaries)
    except (OSError, TurnlogError):
        return []
    found: list[CompletionItem] = []
    for summary in summaries:
        short = summary.session[-length:]
        for text in (summary.name or short, short, summary.session if incomplete else ""):
            if text and text.startswith(incomplete):
                found.append(CompletionItem(text, help=_title(summary)))
                break
    return [*found[:_OFFERED], *_places(incomplete)]


def complete_words(before: Sequence[str] | None, incomplete: str) -> list[CompletionItem]:
    """Complete a word of `exec`: what to do, or with which session. A prompt is free text."""
    if not before:
        actions = ("resume", "fork")
        return [CompletionItem(word) for word in actions if word.startswith(incomplete)]
    alone = len(before) == 1 and before[0] in ("resume", "fork")
    return complete_session(incomplete) if alone else []


def _places(incomplete: str) -> list[CompletionItem]:
    newest = CompletionItem("@last", help="the newest session")
    return [newest] if "@last".startswith(incomplete) else []


def _title(summary: "SessionSummary") -> str:
    from turnlog.replay.views.text import one_line

    return one_line(summary.title, _TITLE_WIDTH)


async def _summaries() -> "tuple[list[SessionSummary], int]":
    from turnlog.frontends.sessions.address import is_listed, short_length
    from turnlog.frontends.sessions.store import has_store, reading

    if not has_store():
        return [], 0
    async with reading() as log:
        stored = await log.sessions(limit=10_000)
    listed = [summary for summary in stored if is_listed(summary)]
    return listed, short_length(summary.session for summary in stored)
