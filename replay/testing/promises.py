"""The four promises, checked step by step at the level of a session's core. Pure.

What is checked is said with the rebuilt state alone, so that kinds of events and of effects that
a later release adds are checked, too.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import attrs
import msgspec

from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.session import decisions
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import Decision, Opens, StepFailed
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import JsonText
from turnlog.replay.testing.timelines import timeline

SHOWN_EVENTS: Final = 30  # in a message
ANSWERS: Final = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
_OUTPUTS: Final = frozenset(ANSWERS.values())


class PromiseBroken(AssertionError):
    """A session does not hold what every session holds. The text shows where, and the timeline."""


@attrs.define
class Promises:
    """Watches one session from its first event on; raises at the first promise that breaks."""

    records: list[Recorded] = attrs.field(factory=list[Recorded])
    _state: State = attrs.field(factory=State)
    _closed: set[EffectId] = attrs.field(factory=set[EffectId])

    def take(self, step: Sequence[Recorded], live: State | None = None) -> None:
        """Check one step: a fact and its decisions, as they were read back from bytes.

        Args:
            live: the session's own state after this step, where there is one.

        Raises:
            PromiseBroken: one of these does not hold. Deciding again gives what is recorded; the
                rebuilt state is the live one, and gives the same model input; that input is
                valid at every event; every effect closes once.
        """
        if not step:
            return
        self.records.extend(step)
        fact = step[0].event
        if isinstance(fact, Decision | UnknownEvent):
            for recorded in step:
                self._apply(recorded)
        else:
            again = decisions(self._state, fact)  # it begins once the fact is applied
            self._apply(step[0])
            for recorded in step[1:]:
                self._compare(recorded, next(again, None))
                self._apply(recorded)
            if (more := next(again, None)) is not None:
                self._break("replay is exact", step[-1], f"today's code also decides {more}")
        if live is not None:
            self._agree(step[-1], live)

    def at_rest(self) -> None:
        """Check that nothing dangles: no turn is open, nothing outstanding.

        Raises:
            PromiseBroken: something is.
        """
        if (self._state.turn is not None or self._state.outstanding) and self.records:
            left = ", ".join(self._state.outstanding) or f"turn {self._state.turns}"
            self._break("nothing dangles", self.records[-1], f"still open at the end: {left}")

    def _apply(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, StepFailed):
            self._break("deciding never fails", recorded, recorded.event.message)
        before = set(self._state.outstanding)
        rebuild((recorded,), self._state)
        after = set(self._state.outstanding)
        opened = after - before
        event = recorded.event
        if isinstance(event, Opens):
            opened.add(event.effect)
            if event.effect not in after:
                self._closed.add(event.effect)
        if twice := opened & self._closed:
            self._break("every effect closes once", recorded, f"{min(twice)} is opened again")
        self._closed |= before - after
        if (problem := invalid_input(model_input(self._state))) is not None:
            self._break("the model's input is valid at every event", recorded, problem)

    def _compare(self, recorded: Recorded, decided: object) -> None:
        if not isinstance(recorded.event, UnknownEvent) and decided != recorded.event:
            self._break(
                "replay is exact", recorded, f"recorded: {recorded.event}\n  decided:  {decided}"
            )

    def _agree(self, last: Recorded, live: State) -> None:
        if model_input(self._state) != model_input(live):
            self._break("live equals rebuilt", last, "the model's next input differs")
        for name, rebuilt in attrs.asdict(self._state, recurse=False).items():
            if rebuilt != (there := getattr(live, name)):
                text = f"{name}\n  live:    {there}\n  rebuilt: {rebuilt}"
                self._break("live equals rebuilt", last, text)

    def _break(self, promise: str, at: Recorded, what: str) -> None:
        shown = timeline(self.records, marked={at.sequence}, last=SHOWN_EVENTS)
        raise PromiseBroken(f"broken at event {at.sequence}: {promise}. {what}\n{shown}")


def assert_promises(records: Iterable[Recorded], *, at_rest: bool = False) -> None:
    """Check a whole recorded session, from its first event on.

    Args:
        at_rest: also check that nothing is open at its end, as after `session_closed`.

    Raises:
        PromiseBroken: see `Promises.take` and `Promises.at_rest`.
    """
    promises, step = Promises(), list[Recorded]()
    for recorded in records:
        if recorded.role == "fact":
            promises.take(step)
            step = []
        step.append(recorded)
    promises.take(step)
    if at_rest:
        promises.at_rest()


def invalid_input(parts: Sequence[JsonText]) -> str | None:
    """Say why no provider would take these parts; None: one would.

    Each call has exactly one output; outputs are in call order, directly after the response that
    asked for them.
    """
    waiting: list[tuple[str, str]] = []
    answering = False
    for number, part in enumerate(parts):
        kind, call_id, role = _head(part)
        if kind in _OUTPUTS:
            if not waiting or waiting[0] != (kind, call_id):
                return f"part {number} answers {call_id!r}, which is not the next call to answer"
            waiting.pop(0)
            answering = bool(waiting)
            continue
        if answering or (waiting and kind == "message" and role != "assistant"):
            return f"part {number} ({kind}) is between a call and its output"
        if kind in ANSWERS:
            waiting.append((ANSWERS[kind], call_id))
    return f"the call {waiting[0][1]!r} has no output" if waiting else None


@lru_cache(maxsize=8192)
def _head(part: JsonText) -> tuple[str, str, str]:
    item: Any = msgspec.json.decode(part)
    return str(item.get("type")), str(item.get("call_id", "")), str(item.get("role", ""))
