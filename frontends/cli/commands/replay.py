"""`turnlog replay`: does today's code decide as the recorded sessions did?"""

import sys
from pathlib import Path
from typing import Final

import click
import trio

from turnlog.actors.stored_state.pages import read_whole
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.verdict_text import (
    exit_code,
    progress,
    show_each,
    totals_object,
    verdict_object,
    whole_verdict,
)
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.source import names_file, read_file
from turnlog.frontends.sessions.store import has_store, reading, store_path
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import FileInvalid, LogDamaged
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.portable import NO_SESSION
from turnlog.replay.verify.files import replay_file
from turnlog.replay.verify.report import ReplayReport
from turnlog.replay.verify.stored import replay_store, replay_stored
from turnlog.replay.verify.verdict import Verdict, total, verdict_of

_EVERY_SESSION: Final = sys.maxsize


@click.command("replay")
@click.argument("what", metavar="[ID | FILE]", type=SESSION, required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Replay every session of the store.")
@click.option(
    "--from",
    "start",
    type=click.IntRange(min=1),
    metavar="SEQ",
    help="Report only differences from this event on. Default: all.",
)
@click.option(
    "--actors",
    is_flag=True,
    help="Let the real actors run again, too, with everything from outside as it was recorded.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="With --actors: decides what the log does not say, such as the order of tasks. "
    "Default: 0.",
)
@json_option("Print JSON lines: one for each session, then a summary.")
def command(
    what: str | None,
    all_of_them: bool,
    start: int | None,
    actors: bool,
    seed: int | None,
    as_json: bool,
) -> int:
    """Feed the recorded facts of a session to today's code, and compare each decision.

    ID is a session of the store, FILE one that `turnlog export` wrote. No model, process or
    network is reached, and nothing is changed.

    With --actors, not the decisions alone are made again: the session's tasks run, and what they
    write is compared up to the first step that differs.

    The exit code is 0 for no difference, 4 for a difference or damage, and 1 for an error.
    """
    if (what is None) != all_of_them:
        raise click.UsageError("Give an ID or a FILE, or --all.")
    if all_of_them and start is not None:
        raise click.UsageError("--from is for one session.")
    if seed is not None and not actors:
        raise click.UsageError("--seed is for --actors.")
    if what is None or start is not None:
        if actors:
            raise click.UsageError("--actors is for one session, from its first event on.")
    elif actors:
        return _act(what, seed or 0, as_json)
    if what is None:
        return _replay_all(as_json)
    return _replay_one(what, start or 1, as_json)


def _replay_one(what: str, start: int, as_json: bool) -> int:
    if names_file(what):
        report = replay_file(Path(what), start=start)
        name = what
    else:
        report = trio.run(_replay_stored, what, start)
        name = report.session
    return _tell(verdict_of(name, report), as_json, start)


def _tell(verdict: Verdict, as_json: bool, start: int = 1) -> int:
    if as_json:
        print_json(verdict_object(verdict))
        print_json(totals_object(total([verdict])))
    else:
        click.echo(whole_verdict(verdict, start))
    return exit_code([verdict])


def _act(what: str, seed: int, as_json: bool) -> int:
    # Here, and not above: a command that does not act starts without what this needs.
    from turnlog.replay.acting.report import acted_verdict
    from turnlog.replay.acting.stage import replay_acting

    try:
        session, records = _recorded(what)
    except (LogDamaged, FileInvalid) as error:
        if isinstance(error, FileInvalid) and error.flaw in NO_SESSION:
            raise
        return _tell(Verdict(what, "damaged", code=error.code, message=str(error)), as_json)
    found = replay_acting(records, seed)
    name = what if names_file(what) else session
    return _tell(acted_verdict(name, session, len(records), found, seed), as_json)


def _recorded(what: str) -> tuple[SessionId, list[Recorded]]:
    """Return a session's events, from the first one on."""
    return read_file(what) if names_file(what) else trio.run(_stored, what)


async def _stored(prefix: str) -> tuple[SessionId, list[Recorded]]:
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        return session, await read_whole(log, session)


async def _replay_stored(prefix: str, start: int) -> ReplayReport:
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        with progress("replay") as advance:
            return await replay_stored(log, session, start=start, seen=advance)


def _replay_all(as_json: bool) -> int:
    sessions = trio.run(_sessions)
    every = sum(events for _, events in sessions)
    with progress("replay") as advance:
        return show_each(
            replay_store(store_path(), sessions),
            as_json=as_json,
            shown=lambda printed: advance(sum(verdict.events for verdict in printed), every),
        )


async def _sessions() -> list[tuple[SessionId, int]]:
    """Return the store's sessions, the newest first, each with the number of its events."""
    if not has_store():
        return []
    async with reading() as log:
        summaries = await log.sessions(limit=_EVERY_SESSION)
        heads = [await log.head(summary.session) for summary in summaries]
    return [
        (summary.session, head.sequence) for summary, head in zip(summaries, heads, strict=True)
    ]
