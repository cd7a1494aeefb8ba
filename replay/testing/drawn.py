"""A strategy of whole sessions: a random world, lived through at core level."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

from hypothesis import strategies as st

from turnlog.protocol.events import (
    ApprovalAsked,
    ChildAsked,
    CompactionAsked,
    ContextAsked,
    ModelAsked,
    OpeningDecision,
    RetryScheduled,
    SessionFact,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    UserShellAsked,
)
from turnlog.protocol.ops import Interrupt
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.testing import strategies
from turnlog.replay.testing.driver import SETTINGS, CoreSession
from turnlog.replay.testing.strategies import Arguments
from turnlog.replay.testing.world import World, questions
from turnlog.runtime.tools.tool import Tool

T = TypeVar("T")
Deed = Callable[[], None]
Tools = Sequence[Tool] | Callable[[], Sequence[Tool]]

_INDICES: Final = st.integers(0, 2519)  # many numbers divide 2520: each choice is as likely
_HOW: Final[Sequence[Literal["failed", "crashed"]]] = ("failed", "crashed")
_ENDINGS: Final = st.sampled_from(_HOW)
_PROMPTS, _STEERING, _OPS = strategies.turns(), strategies.steering(), strategies.ops()
_FAILURES, _RESULTS, _USAGES = (
    strategies.model_failures(),
    strategies.tool_results(),
    strategies.usages(),
)
_TASKS, _UNDOS, _WORDS = strategies.tasks(), strategies.undos(), strategies.prompts()
_ANSWERS, _CRASHES = strategies.answers(), strategies.crashes()


class Draw(Protocol):
    """What hypothesis gives to a composite strategy."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T: ...


def sessions(
    tools: Tools = (),
    *,
    most_facts: int = 40,
    run_tools: bool = False,
    arguments: Arguments | None = None,
    settings: SessionSettings = SETTINGS,
) -> st.SearchStrategy[CoreSession]:
    """Draw a session that lived through up to `most_facts` facts of a random world.

    Prompts, steering, settings, model streams with calls of `tools` (and calls that nobody
    takes), failures and retries, approvals, compactions, undos, user commands, reviews,
    interrupts and crashes, in any order that a real engine could meet. The promises are checked
    at every step while it is drawn.

    Args:
        tools: the tools that the model knows; or a function that makes them, for each session.
        run_tools: run the tools' code. By default they are planned only, and results are drawn.
        arguments: see `strategies.tool_calls`.
        settings: of the session; the approval policy changes as users change it.
    """
    lengths = st.integers(0, most_facts)

    @st.composite
    def lived(draw: Draw) -> CoreSession:
        made = tools() if callable(tools) else tools
        world = World(made, CoreSession.started(settings))
        random = _RandomWorld(world, draw, run_tools, strategies.model_items(made, arguments))
        for _ in range(draw(lengths)):
            random.pick(random.deeds())()
        return world.session

    strategy: st.SearchStrategy[CoreSession] = lived()
    return strategy


class _RandomWorld:
    """Draws what happens next. The tamest comes first, since hypothesis shrinks towards it."""

    def __init__(
        self, world: World, draw: Draw, run_tools: bool, items: st.SearchStrategy[dict[str, Any]]
    ) -> None:
        self.world, self.draw, self.run_tools, self.items = world, draw, run_tools, items

    def deeds(self) -> list[Deed]:
        """Return what can happen now. What happens often is listed often."""
        world, session = self.world, self.world.session
        deeds: list[Deed] = []
        for effect in session.state.outstanding.values():
            deeds += self._about(effect) * (1 if world.is_stopping else 4)
        if world.turn is None:
            deeds += [lambda: world.op(self.draw(_PROMPTS))] * 6
            deeds += [lambda: world.op(self.draw(_TASKS))] * 2
            deeds += [lambda: world.op(self.draw(_UNDOS))] * 2  # most come when none can be done
        else:
            deeds += [lambda: world.op(self.draw(_STEERING)), lambda: world.op(Interrupt())]
        deeds += [lambda: world.op(self.draw(_OPS)), lambda: world.crash(self.draw(_CRASHES))]
        if session.ops:
            deeds += [self._repeat, self._late, self._answer_again]
        return deeds

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.draw(_INDICES) % len(choices)]

    def _about(self, effect: OpeningDecision) -> list[Deed]:
        world = self.world
        ends: list[Deed] = [lambda: world.close(effect, self.draw(_ENDINGS), "as it goes")]
        if world.is_stopping:
            return [lambda: world.close(effect, "cancelled")]
        match effect:
            case ContextAsked():
                return [world.load] * 4 + ends
            case ModelAsked():
                usages, failures = _USAGES, _FAILURES
                goes_on: list[Deed] = [lambda: world.say(self.draw(self.items))] * 4
                whole: Deed = lambda: world.complete(self.draw(usages))  # noqa: E731
                return [whole, whole, *goes_on, lambda: world.fail(self.draw(failures)), *ends]
            case ToolDispatched():
                return [lambda: self._tool(effect)] * 4 + ends
            case ApprovalAsked(question=question):
                return [lambda: world.answer(question, self.draw(_ANSWERS))] * 4
            case RetryScheduled():
                return [world.fire]
            case ChildAsked() | UserShellAsked() | CompactionAsked():
                return [lambda: self._goes_on(effect)] * 4 + ends
            case _:  # of no result to be drawn, or a kind of a later release
                return [lambda: self._goes_on(effect), *ends]

    def _goes_on(self, effect: OpeningDecision) -> None:
        if not self.world.go_on(effect, self.draw(_WORDS)):
            self.world.close(effect, "failed", "as it goes")

    def _tool(self, effect: ToolDispatched) -> None:
        if self.run_tools:
            if effect.effect in self.world.held:
                self.world.report(effect)
            elif not self.world.has_started(effect):
                self.world.run(effect)
            return
        if not self.world.has_started(effect) and self.draw(st.booleans()):
            self.world.session.send(ToolStarted(effect.effect))
            return
        result = self.draw(_RESULTS)
        self.world.session.send(
            ToolFinished(effect.effect, result.outcome, result.preamble, result.output)
        )

    def _late(self) -> None:
        if gone := self.world.session.closed_effects:
            effect = self.pick(gone)
            facts: Sequence[SessionFact] = (
                ToolFinished(effect, "done", "", "late"),
                ToolStarted(effect),
            )
            self.world.session.send(self.pick(facts))

    def _answer_again(self) -> None:
        if asked := questions(self.world.session):
            self.world.answer(self.pick(asked), "approved")

    def _repeat(self) -> None:
        number = self.draw(_INDICES) % self.world.session.ops
        self.world.session.op(Interrupt(), f"op-{number + 1}")
