"""What must hold of any session, said with the events alone and not with the core's code."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tests.core.play import Play, known
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    AgentsAwaited,
    CallPlanned,
    CallSettled,
    Closes,
    EffectLost,
    ModelCompleted,
    ModelItemReceived,
    Opens,
    OpReceived,
    QuestionAnswered,
    SessionEvent,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ops import ExecApproval, PatchApproval

CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def whole_responses(events: Iterable[SessionEvent]) -> set[str]:
    """Return the effects of the model calls that came to their end."""
    return {event.effect for event in events if isinstance(event, ModelCompleted)}


def assert_valid_input(parts: Sequence[str], whole: set[str]) -> None:
    """Check that a provider would take `parts`.

    Each call has exactly one output; the outputs come in call order, all after the response
    that asked for them and before anything else; a response that was cut off (its items' ids name
    an effect that is not in `whole`) keeps no reasoning without its result.
    """
    items: list[dict[str, Any]] = [json.loads(part) for part in parts]
    waiting: list[tuple[str, str]] = []
    answering = False
    for number, item in enumerate(items):
        kind = item["type"]
        if kind in CALLS.values():
            assert waiting, f"part {number} answers no call: {item}"
            assert (kind, item["call_id"]) == waiting.pop(0)
            answering = bool(waiting)
            continue
        assert not answering, f"part {number} is between outputs: {item}"
        if kind == "message" and item["role"] != "assistant":
            assert not waiting, f"part {number} is between calls and outputs: {item}"
        if kind in CALLS:
            waiting.append((CALLS[kind], item["call_id"]))
        if kind == "reasoning" and _response(item) not in whole:
            following = items[number + 1 : number + 2]
            assert following, "the input ends with reasoning that led to nothing"
            assert _response(following[0]) == _response(item)
    assert not waiting, f"no output for {waiting}"


def _response(item: dict[str, Any]) -> str:
    return str(item.get("id", "")).partition(":")[0]


def closers(events: Iterable[SessionEvent]) -> dict[str, list[SessionEvent]]:
    """Return, for each effect, the events that found it open and closed it."""
    open_now: dict[str, str] = {}  # effect -> question, call that waits for agents, or nothing
    found: dict[str, list[SessionEvent]] = {}
    for event in events:
        closed: list[str] = []
        match event:
            case OpReceived(op=ExecApproval(id=asked) | PatchApproval(id=asked)):
                closed = [effect for effect, question in open_now.items() if question == asked]
            case StepFailed():
                closed = list(open_now)
            case QuestionAnswered(effect=answered):
                closed = [answered]
            case CallSettled(call_id=call_id):
                closed = [effect for effect, waits in open_now.items() if waits == call_id]
            case EffectLost(effect=lost):
                assert lost in open_now, f"{lost} was lost, but not open"
                closed = [lost]
            case _ if isinstance(event, Closes) and event.effect in open_now:
                closed = [event.effect]
            case _:
                pass
        for effect in closed:
            del open_now[effect]
            found[effect].append(event)
        if isinstance(event, Opens):
            assert event.effect not in found, f"{event.effect} was opened twice"
            open_now[event.effect] = getattr(event, "question", "")
            if isinstance(event, AgentsAwaited):
                open_now[event.effect] = event.call_id
            found[event.effect] = []
    return found


def assert_turns_take_turns(events: Iterable[SessionEvent]) -> None:
    """Check that turns are numbered from 1, one at a time, and that each ends at most once."""
    opened, running = 0, False
    for event in events:
        match event:
            case TurnOpened(turn=turn):
                assert not running
                opened, running = opened + 1, True
                assert turn == opened
            case TurnEnded(turn=turn):
                assert running
                assert turn == opened
                running = False
            case StepFailed():
                running = False
            case _:
                pass


def dispatches(events: Iterable[SessionEvent]) -> Counter[str]:
    """Return how often each call was started, but for those that were planned again instead.

    The world gives every call an id of its own.
    """
    events = list(events)
    planned = {event.effect for event in events if isinstance(event, CallPlanned)}
    sent = (event for event in events if isinstance(event, ToolDispatched))
    return Counter(event.call_id for event in sent if event.effect not in planned)


def denials(events: Iterable[SessionEvent]) -> Counter[str]:
    """Return how often the sandbox stopped each call, which may run once more without it."""
    events = list(events)
    calls = {event.effect: event.call_id for event in events if isinstance(event, ToolDispatched)}
    stopped = (e.effect for e in events if isinstance(e, ToolFinished) and e.denial is not None)
    return Counter(calls[effect] for effect in stopped if effect in calls)


def running_tools(events: Iterable[SessionEvent]) -> dict[str, str]:
    """Return the calls that are running after `events`: call id -> stopped, or unknown."""
    events = list(events)
    still_open = {effect for effect, by in closers(events).items() if not by}
    started = {event.effect for event in events if isinstance(event, ToolStarted)}
    return {
        event.call_id: "stopped" if event.effect in started else "unknown"
        for event in events
        if isinstance(event, ToolDispatched) and event.effect in still_open
    }


def outcomes(events: Iterable[SessionEvent]) -> dict[str, str]:
    """Return how the calls were settled that did not run to their end."""
    return {event.call_id: event.outcome for event in events if isinstance(event, CallSettled)}


def assert_sound(play: Play) -> None:
    """Check a whole session: turns, effects, and that no decision has failed."""
    events = known(play.records)
    assert not [event for event in events if isinstance(event, StepFailed)]
    assert_turns_take_turns(events)
    denied = denials(events)
    for call, times in dispatches(events).items():
        assert times <= 1 + min(denied[call], 1)
    closed = closers(events)
    assert all(len(by) <= 1 for by in closed.values())
    assert {effect for effect, by in closed.items() if not by} == set(play.state.outstanding)


def model_items(records: Iterable[Recorded]) -> list[str]:
    """Return what the model sent, whichever became of it."""
    return [r.event.item_json for r in records if isinstance(r.event, ModelItemReceived)]
