"""A transcript as Markdown.

What the user and the model said is in block quotes, and what tools took and gave in fences
longer than any in it: nothing that they hold can end its place, and no HTML in it is HTML here.
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
    TurnShown,
)
from turnlog.replay.transcript.reading import transcript
from turnlog.replay.transcript.wording import (
    ending,
    facts_of,
    heading,
    outcome,
    question,
    tokens,
    utc_time,
)

_TICKS: Final = re.compile(r"`+")
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|!])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FENCE: Final = re.compile(r"\s*(`{3,}|~{3,})(.*)")
_INLINE: Final = re.compile(
    r"(?P<kept>\\[\\`<]|(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))|<(?=[A-Za-z/!?])"
)
_NAMES: Final = {"user": "User", "assistant": "Assistant"}


def markdown(records: Iterable[Recorded]) -> str:
    """Return a session's transcript. A pure function of its events."""
    shown = transcript(records)
    lines = [f"# {_plain(shown.title or 'Session ' + shown.session)}", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in facts_of(shown)]
    for turn in shown.turns:
        lines += _turn(turn)
    return "\n".join(lines) + "\n"


def _turn(turn: TurnShown) -> Iterator[str]:
    yield from ("", f"## {heading(turn)}", "")
    if turn.number:
        about = f"{utc_time(turn.start_us)}, {ending(turn)}"
        about += f", {_plain(turn.model)}" if turn.model else ""
        yield f"*{about}. Tokens: {tokens(turn.usage)}.*"
    for entry in turn.entries:
        yield ""
        yield from _entry(entry)
    if turn.error:
        yield from ("", f"**The turn failed:** {_plain(turn.error)}")


def _entry(entry: Entry) -> Iterator[str]:
    match entry:
        case Said(who=who, text=text):
            yield from (f"**{_NAMES[who]}**{_withdrawn(entry)}", "")
            yield from _quoted(text)
            for image in entry.images:
                kind = "embedded" if image.startswith("data:") else image
                yield f"> *image: {_plain(kind)}*"
        case Thought(text=text):
            yield from (f"*Reasoning*{_withdrawn(entry)}", "")
            yield from _quoted(text)
        case Told(kind=kind, text=text):
            yield from (f"<details><summary>Told the model: {escape(_safe(kind))}</summary>", "")
            yield from _fenced(text)
            yield from ("", "</details>")
        case Tool():
            yield from _tool(entry)
        case Summary(title=title, text=text):
            yield f"**{_plain(title)}**"
            if text:
                yield ""
                yield from _quoted(text)
        case Question():
            about = f" {_code(entry.title)}" if entry.title else ""
            reason = f" {_plain(entry.reason)}" if entry.reason else ""
            yield f"**Question** {_plain(question(entry))}{about}{reason} *{_plain(entry.answer)}*"
        case Remark(text=text):
            yield f"*{_plain(text)}*"
        case _:
            assert_never(entry)


def _tool(tool: Tool) -> Iterator[str]:
    title = f": {_code(tool.title)}" if tool.title else ""
    yield f"**Tool** {_code(tool.name)}{title} ({outcome(tool)}){_withdrawn(tool)}"
    if tool.call and tool.call.strip() != tool.title:
        yield ""
        yield from _fenced(tool.call)
    if tool.output:
        yield ""
        yield from _fenced(tool.output)


def _withdrawn(entry: Said | Thought | Tool) -> str:
    return " (withdrawn: the response was cut, and asked for again)" if entry.is_withdrawn else ""


def _quoted(text: str) -> Iterator[str]:
    for line in _without_html(_safe(text).split("\n")):
        yield f"> {line}".rstrip()


def _without_html(lines: Iterable[str]) -> Iterator[str]:
    """Escape what would be a tag or a comment, but in code, where it is shown as it is."""
    fence = ""
    for line in lines:
        found = _FENCE.match(line)
        mark, rest = found.groups() if found else ("", "")
        if fence:
            yield line
            fence = "" if mark.startswith(fence) and not rest.strip() else fence
        elif mark and not (mark[0] == "`" and "`" in rest):
            yield line
            fence = mark
        else:
            yield _INLINE.sub(lambda match: match["kept"] or "\\<", line)


def _fenced(text: str) -> Iterator[str]:
    text = _safe(text).removesuffix("\n")
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", *text.split("\n"), fence)


def _code(text: str) -> str:
    """Return a text as code on one line."""
    text = " ".join(_safe(text).split())
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    ticks = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _plain(text: str) -> str:
    """Return a text on one line, without any markup in it."""
    return _MARKUP.sub(r"\\\1", " ".join(_safe(text).split()))


def _safe(text: str) -> str:
    """Return a text with its line ends as they are here, and without control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
