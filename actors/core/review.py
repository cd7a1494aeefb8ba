"""The core of reviews: a child session looks at the work, and the conversation gets its findings.

The child has a history, a prompt and a model of its own, so nothing of its reading leaks into
the conversation.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct, structs

from turnlog.actors.core import texts
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.events import (
    ChildAsked,
    ChildEnded,
    RecordedItem,
    SessionDecision,
    TurnStopping,
)
from turnlog.protocol.ids import SessionId, effect_id, mint
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import Review


class LineRange(Struct, frozen=True):
    start: int
    end: int


class CodeLocation(Struct, frozen=True):
    absolute_file_path: str
    line_range: LineRange


class Finding(Struct, frozen=True):
    """One thing that a review found. Source of the shape: functional model A23."""

    title: str
    body: str = ""
    confidence_score: float = 0.0  # 0 to 1
    priority: int | None = None  # 0, the most urgent, to 3
    code_location: CodeLocation | None = None


class ReviewOutput(Struct, frozen=True):
    """What a review came to."""

    findings: tuple[Finding, ...] = ()
    overall_correctness: str = ""
    overall_explanation: str = ""
    overall_confidence_score: float = 0.0


_decode: Final = msgspec.json.Decoder(ReviewOutput).decode


def read_output(text: str) -> ReviewOutput:
    """Return a review's last message as what it found.

    It is JSON, or holds JSON between its first and last brace; any other text is the explanation.
    """
    for candidate in (text, text[text.find("{") : text.rfind("}") + 1]):
        try:
            return _decode(candidate)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return ReviewOutput(overall_explanation=text)


def begin(state: State, turn: Turn) -> Iterator[SessionDecision]:
    """Ask a child session for the review."""
    parent, op = turn.settings.session, turn.op.op
    settings = structs.replace(
        parent,
        model=parent.review_model or parent.model,
        reasoning_effort="low",
        reasoning_summary="detailed",
        base_instructions=texts.REVIEW,
        developer_instructions=None,
        user_instructions=None,
        project_docs=False,
        depth=max(parent.depth + 1, parent.agents.most_depth),
    )
    child = SessionId(mint(state.session, state.time_us, state.facts, "child", 0))
    effect = effect_id(state.facts, "child")
    prompt = op.prompt if isinstance(op, Review) else ""
    yield ChildAsked(effect, child, "review", "review", 1, prompt, settings)


def ended(turn: Turn, fact: ChildEnded) -> Iterator[SessionDecision]:
    """Decide about the end of the child. A review without findings is not a completed turn."""
    if turn.kind == "review" and turn.stopping is None and fact.status != "completed":
        yield TurnStopping(fact.status, fact.error)


def note(end: ChildEnded | None) -> RecordedItem:
    """Return what the conversation is told of a review.

    Args:
        end: of the child; None if the review was interrupted before.
    """
    if end is None or end.status != "completed" or not end.output:
        return _user_action(texts.REVIEW_INTERRUPTED)
    output = read_output(end.output)
    lines = [output.overall_explanation.strip(), *map(_finding, output.findings)]
    return _user_action(texts.REVIEW_DONE.format(results="\n".join(filter(None, lines))))


def _finding(finding: Finding) -> str:
    place = finding.code_location
    where = (
        f" — {place.absolute_file_path}:{place.line_range.start}-{place.line_range.end}"
        if place is not None
        else ""
    )
    body = "".join(f"\n  {line}" for line in finding.body.splitlines())
    return f"- {finding.title}{where}{body}"


def _user_action(results: str) -> RecordedItem:
    return RecordedItem("review", text_message("user", texts.USER_ACTION.format(text=results)))
