"""Words and figures that both forms of a transcript use."""

from typing import Final

from turnlog.protocol.times import utc
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.transcript.entries import Question, Tool, Transcript, TurnShown

_KINDS: Final[dict[str, str]] = {
    "regular": "",
    "compact": "compaction",
    "shell": "user's command",
}


def utc_time(time_us: int) -> str:
    """Return a time of the log, in UTC: a transcript reads the same everywhere."""
    return f"{utc(time_us):%Y-%m-%d %H:%M:%S} UTC"


def clock(time_us: int) -> str:
    return f"{utc(time_us):%H:%M:%S}"


def lasted(milliseconds: int) -> str:
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def tokens(usage: TokenUsage) -> str:
    """Return what a turn or a session took, in words."""
    text = f"{usage.input_tokens:,} in ({usage.cached_input_tokens:,} cached)"
    text += f", {usage.output_tokens:,} out"
    if usage.reasoning_output_tokens:
        text += f" ({usage.reasoning_output_tokens:,} reasoning)"
    return text


def heading(turn: TurnShown) -> str:
    """Return a turn's number, and its kind where it is no talk with the model."""
    if not turn.number:
        return "Before the first turn"
    kind = _KINDS.get(turn.kind, turn.kind)
    return f"Turn {turn.number}: {kind}" if kind else f"Turn {turn.number}"


def question(asked: Question) -> str:
    """Return what a question asks. What it is about and its answer follow it."""
    return f"May {asked.tool} run {'without the sandbox' if asked.outside else 'this'}?"


def outcome(tool: Tool) -> str:
    """Return how a call ended, in a few words."""
    has_code = tool.exit_code is not None and tool.status in ("done", "failed")
    parts = [f"exit {tool.exit_code}" if has_code else tool.status]
    if tool.duration_ms is not None:
        parts.append(lasted(tool.duration_ms))
    return ", ".join(parts)


def ending(turn: TurnShown) -> str:
    """Return how a turn ended, and how long it took."""
    if turn.end_us is None:
        return turn.status
    return f"{turn.status} after {lasted((turn.end_us - turn.start_us) // 1000)}"


def facts_of(shown: Transcript) -> list[tuple[str, str]]:
    """Return what is said of a session as a whole: names and values."""
    rows = [
        ("Session", shown.session),
        ("Started", utc_time(shown.start_us)),
        ("Folder", shown.cwd),
        ("Model", shown.model),
        ("Front-end", shown.originator),
        ("Tokens", tokens(shown.usage)),
        ("Events", f"{shown.events:,}"),
    ]
    if shown.parent:
        rows.insert(1, ("Forked from", f"{shown.parent}, after its event {shown.cut}"))
    return [(name, value) for name, value in rows if value]
