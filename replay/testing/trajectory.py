"""Assertions about which tools a session called, how often, and in which order.

A `what` is a tool's name, or a function that is given each `Use` and says whether it counts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import msgspec

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    CallSettled,
    ModelItemReceived,
    ToolDispatched,
    ToolFinished,
    TurnOpened,
)
from turnlog.protocol.items import CustomToolCall, FunctionCall, ToolCallItem, read_item
from turnlog.replay.testing.timelines import timeline


@attrs.define
class Use:
    """One call that the model made, and what became of it."""

    sequence: int  # of the model's item
    turn: int
    tool: str
    call_id: str
    arguments: Any  # a function's, decoded; a custom tool's text; what is no JSON, as it is
    ran: bool = False
    outcome: str | None = None  # done, failed, refused, declined, ...; None: not known yet
    output: str | None = None  # what the model was told


What = str | Callable[[Use], bool]


class TrajectoryError(AssertionError):
    """A session went another way than it should. The text has the timeline."""


def uses(records: Iterable[Recorded]) -> list[Use]:
    """Return the calls that the model made, in order, with their ends."""
    found: list[Use] = []
    by_id: dict[str, Use] = {}  # the newest of each id, within its turn
    by_effect: dict[str, Use] = {}
    for recorded in records:
        match recorded.event:
            case TurnOpened():
                by_id.clear()
            case ModelItemReceived(item_json=text, plan=plan) if plan is not None:
                item = read_item(text)
                if isinstance(item, FunctionCall | CustomToolCall):
                    use = _use(recorded, plan.tool, item)
                    found.append(use)
                    by_id[use.call_id] = use
            case ToolDispatched(effect=effect, call_id=call_id) if call_id in by_id:
                by_effect[effect] = by_id[call_id]
                by_id[call_id].ran = True
            case ToolFinished(effect=effect, outcome=outcome) as done if effect in by_effect:
                use = by_effect[effect]
                use.outcome, use.output = outcome, done.preamble + done.output
            case CallSettled(call_id=call_id, outcome=outcome, output=output) if call_id in by_id:
                by_id[call_id].outcome, by_id[call_id].output = outcome, output
            case _:
                pass
    return found


def assert_tools(records: Sequence[Recorded], *whats: What) -> None:
    """Check that exactly these were called, in this order, and nothing else.

    Raises:
        TrajectoryError: it was otherwise.
    """
    made = uses(records)
    wrong = next(
        (index for index, use in enumerate(made) if not _fits(use, whats[index : index + 1])),
        len(made),
    )
    if wrong < max(len(made), len(whats)):
        wanted = _name(whats[wrong]) if wrong < len(whats) else "nothing more"
        got = made[wrong].tool if wrong < len(made) else "nothing more"
        text = f"call {wrong + 1} should be {wanted}, and is {got}"
        raise _error(text, records, made[wrong : wrong + 1])


def assert_in_order(records: Sequence[Recorded], *whats: What) -> None:
    """Check that these were called one after the other; others may stand between them.

    Raises:
        TrajectoryError: one did not come, or too early.
    """
    left = iter(uses(records))
    for number, what in enumerate(whats):
        if not any(_counts(use, what) for use in left):
            later = f" after {_name(whats[number - 1])}" if number else ""
            raise _error(f"no call of {_name(what)}{later}", records, uses(records))


def assert_before(records: Sequence[Recorded], first: What, then: What) -> None:
    """Check that no call of `then` came without one of `first` before it.

    Raises:
        TrajectoryError: one did.
    """
    seen = False
    for use in uses(records):
        if not seen and _counts(use, then):
            raise _error(f"{_name(then)} came before any {_name(first)}", records, [use])
        seen = seen or _counts(use, first)


def assert_never(records: Sequence[Recorded], what: What) -> None:
    """Check that no call fits.

    Raises:
        TrajectoryError: one does.
    """
    assert_at_most(records, 0, what)


def assert_always(records: Sequence[Recorded], what: Callable[[Use], bool]) -> None:
    """Check that every call fits.

    Raises:
        TrajectoryError: one does not.
    """
    if wrong := [use for use in uses(records) if not what(use)]:
        raise _error(f"not every call is {_name(what)}", records, wrong)


def assert_at_most(records: Sequence[Recorded], most: int, what: What) -> None:
    """Check that at most so many calls fit.

    Raises:
        TrajectoryError: more do.
    """
    fitting = [use for use in uses(records) if _counts(use, what)]
    if len(fitting) > most:
        text = f"{len(fitting)} calls of {_name(what)}, and at most {most} are allowed"
        raise _error(text, records, fitting)


def _use(recorded: Recorded, tool: str, item: ToolCallItem) -> Use:
    given: Any = item.arguments if isinstance(item, FunctionCall) else item.input
    if isinstance(item, FunctionCall):
        try:
            given = msgspec.json.decode(item.arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            given = item.arguments
    return Use(recorded.sequence, recorded.turn, tool, item.call_id, given)


def _fits(use: Use, whats: Sequence[What]) -> bool:
    return any(_counts(use, what) for what in whats)


def _counts(use: Use, what: What) -> bool:
    return use.tool == what if isinstance(what, str) else what(use)


def _name(what: What) -> str:
    return what if isinstance(what, str) else getattr(what, "__name__", repr(what))


def _error(text: str, records: Sequence[Recorded], wrong: Iterable[Use]) -> TrajectoryError:
    shown = timeline(records, marked={use.sequence for use in wrong})
    return TrajectoryError(f"{text}\n{shown}")
