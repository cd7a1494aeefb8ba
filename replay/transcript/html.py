"""A transcript as one HTML page: no script, and nothing that is loaded from elsewhere.

All text is escaped; a policy in the page's head forbids what an escape that failed could do.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final, assert_never

from turnlog.protocol.envelope import Recorded
from turnlog.replay.transcript.entries import (
    Entry,
    Question,
    Remark,
    Said,
    Summary,
    Thought,
    Told,
    Tool,
    Transcript,
    TurnShown,
)
from turnlog.replay.transcript.reading import transcript
from turnlog.replay.transcript.style import STYLE
from turnlog.replay.transcript.wording import (
    clock,
    ending,
    facts_of,
    heading,
    outcome,
    question,
    tokens,
)

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What is shown as a picture: data of these kinds. An SVG is a document, and could load others.
_PICTURE: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_TITLE: Final = 80  # characters of a turn's first words, in the list of turns
_OPEN_UP_TO: Final = 12  # lines of output that are shown without being asked for
_NAMES: Final = {"user": "User", "assistant": "Assistant"}


def html(records: Iterable[Recorded]) -> str:
    """Return a session's transcript as a page. A pure function of its events."""
    return "\n".join(_page(transcript(records))) + "\n"


def _page(shown: Transcript) -> Iterator[str]:
    title = _text(shown.title or f"Session {shown.session}")
    yield from (
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<header>",
        f"<h1>{title}</h1>",
        "<dl>",
    )
    for name, value in facts_of(shown):
        yield f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl>"
    yield from _contents(shown)
    yield from ("</header>", "<main>")
    for turn in shown.turns:
        yield from _turn(turn)
    yield from ("</main>", "</body>", "</html>")


def _contents(shown: Transcript) -> Iterator[str]:
    turns = [turn for turn in shown.turns if turn.number]
    if len(turns) < 2:
        return
    yield '<nav aria-label="Turns"><ol>'
    for turn in turns:
        said = next((e.text for e in turn.entries if isinstance(e, Said) and e.who == "user"), "")
        said = said if turn.kind == "regular" else heading(turn)
        words = " ".join(said[: 4 * _TITLE].split())
        words = words if len(words) <= _TITLE else words[: _TITLE - 1] + "…"
        yield (
            f'<li value="{turn.number}"><a href="#turn-{turn.number}">{_text(words) or "…"}</a>'
            f' <span class="{turn.status}">{_text(turn.status)}</span></li>'
        )
    yield "</ol></nav>"


def _turn(turn: TurnShown) -> Iterator[str]:
    yield f'<section class="turn" id="turn-{turn.number}">'
    if turn.number:
        about = " · ".join(
            text for text in (ending(turn), turn.model, f"tokens: {tokens(turn.usage)}") if text
        )
        yield (
            f'<h2><a href="#turn-{turn.number}">{_text(heading(turn))}</a>'
            f' <small class="{turn.status}">{_text(about)}</small></h2>'
        )
    else:
        yield f"<h2>{_text(heading(turn))}</h2>"
    for entry in turn.entries:
        yield from _entry(entry)
    if turn.error:
        yield f'<p class="error"><strong>The turn failed:</strong> {_text(turn.error)}</p>'
    yield "</section>"


def _entry(entry: Entry) -> Iterator[str]:
    match entry:
        case Said(who=who, text=text):
            yield f'<article class="{who}{_withdrawn(entry)}" id="{_anchor(entry)}">'
            yield _head(entry, _NAMES[who])
            yield f'<div class="text">{_text(text)}</div>'
            yield from (_image(image) for image in entry.images)
            yield "</article>"
        case Thought(text=text):
            yield f'<article class="thought{_withdrawn(entry)}" id="{_anchor(entry)}">'
            yield _head(entry, "Reasoning")
            yield f'<div class="text">{_text(text)}</div></article>'
        case Told(kind=kind, text=text):
            yield f'<details class="told"><summary>Told the model: {_text(kind)}</summary>'
            yield f"<pre>{_text(text)}</pre></details>"
        case Tool():
            yield from _tool(entry)
        case Summary(title=title, text=text):
            yield f'<details class="told" open><summary>{_text(title)}</summary>'
            yield f"<pre>{_text(text)}</pre></details>"
        case Question():
            yield _question(entry)
        case Remark(text=text):
            yield f'<p class="remark"><time>{clock(entry.time_us)}</time> {_text(text)}</p>'
        case _:
            assert_never(entry)


def _question(asked: Question) -> str:
    about = f" <code>{_text(asked.title)}</code>" if asked.title else ""
    reason = f" {_text(asked.reason)}" if asked.reason else ""
    return (
        f'<p class="remark"><time>{clock(asked.time_us)}</time> {_text(question(asked))}'
        f"{about}{reason} <b>{_text(asked.answer)}</b></p>"
    )


def _tool(tool: Tool) -> Iterator[str]:
    is_well = tool.status in ("done", "completed")
    is_short = tool.output.count("\n") < _OPEN_UP_TO and len(tool.output) < 80 * _OPEN_UP_TO
    mark = "well" if is_well else "ill"
    yield (
        f'<details class="tool {mark}{_withdrawn(tool)}" id="e{tool.sequence}"'
        f"{' open' if is_short and tool.output else ''}>"
    )
    yield (
        f"<summary><b>{_text(tool.name)}</b> <code>{_text(tool.title)}</code>"
        f' <span class="how">{_text(outcome(tool))}</span></summary>'
    )
    if tool.call and tool.call.strip() != tool.title:
        yield f'<pre class="call">{_text(tool.call)}</pre>'
    if tool.output:
        yield f"<pre>{_text(tool.output)}</pre>"
    yield "</details>"


def _head(entry: Said | Thought, name: str) -> str:
    note = " <em>withdrawn: the response was cut</em>" if entry.is_withdrawn else ""
    return (
        f'<div class="head"><b>{name}</b> <time>{clock(entry.time_us)}</time>'
        f' <a href="#{_anchor(entry)}">#{entry.sequence}</a>{note}</div>'
    )


def _anchor(entry: Said | Thought) -> str:
    part = entry.part if isinstance(entry, Said) else 0
    return f"e{entry.sequence}-{part}" if part else f"e{entry.sequence}"


def _withdrawn(entry: Said | Thought | Tool) -> str:
    return " withdrawn" if entry.is_withdrawn else ""


def _image(address: str) -> str:
    if _PICTURE.fullmatch(address):
        return f'<img alt="image" src="{escape(address, quote=True)}">'
    return f'<p class="remark">image: {_text(address[:200])}</p>'


def _text(text: str) -> str:
    """Return a text as it may stand in a page, or in an attribute of one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)
