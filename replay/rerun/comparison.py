"""The outcome of each turn, and where two runs of the same turns differ. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Final

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.protocol.calls import CommandReport, ErrorInfo, PatchReport
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    CallSettled,
    ModelAsked,
    ModelCompleted,
    ModelItemReceived,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import CustomToolCall, FunctionCall, read_item
from turnlog.protocol.ops import (
    Review,
    RunUserShellCommand,
    TextInput,
    UserInput,
    UserTurn,
    op_name,
)
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rerun.child_ids import ChildIds
from turnlog.replay.rerun.recording import call_key
from turnlog.replay.rerun.request_matching import around_difference
from turnlog.replay.rerun.tolerances import Tolerances

_CUT_OFF: Final = frozenset({"stopped", "unknown", "crashed"})


class CallOutcome(Struct, frozen=True):
    """One call of the model, and the output that it got."""

    call_id: str
    tool: str
    arguments: str
    outcome: str = "unsettled"  # done, failed, ..., or how it was settled without a run
    output: str = ""  # without the preamble, which says how long it took
    exit_code: int | None = None  # of a command


class TurnOutcome(Struct, frozen=True):
    """One turn, from the outside."""

    turn: int
    prompt: str
    status: str = "open"  # completed, interrupted, failed; open: it has not ended
    error: ErrorInfo | None = None
    answer: str | None = None
    calls: tuple[CallOutcome, ...] = ()
    requests: int = 0  # attempts at the model
    usage: TokenUsage = TokenUsage()


class TurnDifference(Struct, frozen=True):
    """A place where two runs of a turn differ. Both texts are cut around the difference."""

    what: str  # `status`, `answer`, `call`, `call outcome`, `call output`, `turn`
    original: str
    branch: str
    call: int | None = None  # number of the call in its turn, from 0
    call_id: str | None = None  # the original's


class TurnComparison(Struct, frozen=True):
    """The same turn of two runs; None: one of them does not have it."""

    original: TurnOutcome | None
    branch: TurnOutcome | None
    differences: tuple[TurnDifference, ...]

    @property
    def same(self) -> bool:
        return not self.differences


def turn_outcomes(records: Iterable[Recorded], *, after: int = 0) -> list[TurnOutcome]:
    """Return the outcome of each turn that was opened after event `after`."""
    turns: dict[int, _Turn] = {}
    state = State()
    for record in records:
        if isinstance(record.event, TurnOpened) and record.sequence > after:
            rebuild((record,), state)
            turns[record.turn] = _Turn(record.turn, _prompt(state))
            continue
        rebuild((record,), state)
        if (turn := turns.get(record.turn)) is not None:
            turn.take(record)
    return [turn.outcome() for turn in turns.values()]


def _prompt(state: State) -> str:
    op = state.turn.op.op if state.turn is not None else None
    match op:
        case UserInput(items=items) | UserTurn(items=items):
            pass
        case Review(prompt=text):
            return f"review: {text}"
        case RunUserShellCommand(command=text):
            return f"!{text}"
        case None:
            return ""
        case other:
            return op_name(other)
    return " ".join(item.text if isinstance(item, TextInput) else "[image]" for item in items)


@attrs.define
class _Turn:
    number: int
    prompt: str
    ended: TurnEnded | StepFailed | None = None
    requests: int = 0
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    calls: list[CallOutcome] = attrs.field(factory=list[CallOutcome])
    _running: dict[EffectId, int] = attrs.field(factory=dict[EffectId, int])

    def take(self, record: Recorded) -> None:
        match record.event:
            case ModelAsked():
                self.requests += 1
            case ModelCompleted(usage=usage) if usage is not None:
                self.usage += usage
            case ModelItemReceived(item_json=text):
                self._called(text)
            case ToolDispatched(effect=effect, call_id=call_id):
                self._running[effect] = self._find(call_id)
            case ToolFinished(effect=effect) as done if effect in self._running:
                report = done.report
                output = done.output or ("" if report is not None else done.preamble)
                code = report.exit_code if isinstance(report, CommandReport) else None
                if isinstance(report, PatchReport):
                    code = 0 if report.applied else 1
                self._settle(self._running.pop(effect), done.outcome, output, code)
            case CallSettled(call_id=call_id, outcome=outcome, output=output):
                self._settle(self._find(call_id), outcome, output, None)
            case TurnEnded() | StepFailed() as ended:
                self.ended = ended
            case _:
                pass

    def _called(self, text: str) -> None:
        try:
            item = read_item(text)
        except msgspec.MsgspecError:
            return
        if isinstance(item, FunctionCall | CustomToolCall):
            self.calls.append(CallOutcome(item.call_id, *call_key(item)))

    def _find(self, call_id: str) -> int:
        """Return the number of the newest call with this id."""
        found = (i for i, call in reversed(list(enumerate(self.calls))) if call.call_id == call_id)
        return next(found, -1)

    def _settle(self, number: int, outcome: str, output: str, exit_code: int | None) -> None:
        if number >= 0:
            self.calls[number] = structs.replace(
                self.calls[number], outcome=outcome, output=output, exit_code=exit_code
            )

    def outcome(self) -> TurnOutcome:
        outcome = TurnOutcome(
            self.number,
            self.prompt,
            calls=tuple(self.calls),
            requests=self.requests,
            usage=self.usage,
        )
        match self.ended:
            case TurnEnded(status=status, error=error, last_agent_message=answer):
                return structs.replace(outcome, status=status, error=error, answer=answer)
            case StepFailed(message=message):
                error = ErrorInfo("step_failed", message)
                return structs.replace(outcome, status="failed", error=error)
            case None:
                return outcome


def in_recording(turns: list[TurnOutcome], child_ids: ChildIds) -> list[TurnOutcome]:
    """Return a branch's outcomes with the ids of children as the recording has them."""
    return [child_ids.value_in_recording(turn, TurnOutcome) for turn in turns]


def compare(
    originals: Sequence[TurnOutcome], branches: Sequence[TurnOutcome], tolerances: Tolerances
) -> list[TurnComparison]:
    """Return the turns of both in pairs, in their order."""
    return [
        TurnComparison(original, branch, tuple(_differences(original, branch, tolerances)))
        for original, branch in zip_longest(originals, branches)
    ]


def _differences(
    original: TurnOutcome | None, branch: TurnOutcome | None, tolerances: Tolerances
) -> Iterator[TurnDifference]:
    if original is None or branch is None:
        first, second = (turn.prompt if turn else "(no such turn)" for turn in (original, branch))
        yield TurnDifference("turn", first, second)
        return
    for number, (then, now) in enumerate(zip_longest(original.calls, branch.calls)):
        yield from _call_differences(number, then, now, tolerances)
    for what, first, second in (
        ("answer", original.answer or "", branch.answer or ""),
        ("status", _status(original), _status(branch)),
    ):
        if tolerances.text(first) != tolerances.text(second):
            yield TurnDifference(what, *around_difference(first, second))


def _status(turn: TurnOutcome) -> str:
    return f"{turn.status} ({turn.error.code}: {turn.error.message})" if turn.error else turn.status


def _call_differences(
    number: int, first: CallOutcome | None, second: CallOutcome | None, tolerances: Tolerances
) -> Iterator[TurnDifference]:
    call_id = first.call_id if first else None
    calls = [f"{c.tool} {c.arguments}" if c else "(no call)" for c in (first, second)]
    if first is None or second is None or calls[0] != calls[1]:
        yield TurnDifference("call", *around_difference(*calls), call=number, call_id=call_id)
        return
    then, now = _outcome(first), _outcome(second)
    if then != now:
        yield TurnDifference("call outcome", then, now, call=number, call_id=call_id)
    texts = [tolerances.text(call.output) for call in (first, second)]
    if texts[0] != texts[1]:
        yield TurnDifference(
            "call output", *around_difference(*texts), call=number, call_id=call_id
        )


def _outcome(call: CallOutcome) -> str:
    """Return how a call ended. A recorded tool cannot be killed: it says that it was cut off."""
    if call.outcome in _CUT_OFF:
        return "cut off"
    return call.outcome if call.exit_code is None else f"{call.outcome}, exit code {call.exit_code}"
