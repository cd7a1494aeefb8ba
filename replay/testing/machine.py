"""A rule-based state machine over a session. Users give it tools, rules and invariants.

class LedgerMachine(SessionMachine):
    tools = [Transfer()]

    @invariant()
    def money_is_kept(self) -> None:
        assert self.tool("transfer").total == 100

TestLedger = LedgerMachine.TestCase
"""

import copy
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.errors import HypothesisException, InvalidArgument
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    ContextAsked,
    ModelAsked,
    OpeningDecision,
    RetryScheduled,
    ToolDispatched,
    ToolFinished,
)
from turnlog.protocol.ops import Interrupt, Op
from turnlog.protocol.settings import OnRecovery, SessionSettings
from turnlog.replay.testing import strategies
from turnlog.replay.testing.driver import SETTINGS, CoreSession
from turnlog.replay.testing.failures import save_records
from turnlog.replay.testing.strategies import Arguments
from turnlog.replay.testing.world import World, questions
from turnlog.runtime.scripted_model.script import Item
from turnlog.runtime.tools.tool import Tool

_WHICH = st.integers(0, 5)  # one of those that are there
_CHECKPOINTS = st.integers(1, 3)
_DRAWN: dict[object, tuple[st.SearchStrategy[Item | None], st.SearchStrategy[Item]]] = {}


class SessionMachine(RuleBasedStateMachine):
    """Lives through sessions in which users, models, tools and machines do what they may do.

    Every step is checked against the promises (see `Promises.take`), and every session must
    be idle at its end. The tools' own code is run, on trio, with a clock that jumps; what it did
    to the world stays when an engine is killed. A failing session is shrunk, and the smallest is
    saved as an ordinary log; the failure's last lines say where, and how to look at it.

    Attributes:
        tools: what the model can call. Each example works on deep copies, made by `make_tools`.
        arguments: by tool, how its arguments are drawn; by default, from its specification.
        session_settings: the session's. The default policy asks before a tool that `wants` to run
            `outside`.
    """

    tools: ClassVar[Sequence[Tool]] = ()
    arguments: ClassVar[Arguments] = {}
    session_settings: ClassVar[SessionSettings] = SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self._handled = sys.exception()  # what was being handled before this example began
        self.world: World = World(self.make_tools(), CoreSession.started(self.session_settings))
        kinds = type(self), *(tool.name for tool in self.world.tools)
        if kinds not in _DRAWN:  # making strategies takes longer than an example does
            items = strategies.model_items(self.world.tools, self.arguments)
            calls = strategies.tool_calls(self.world.tools, self.arguments)
            _DRAWN[kinds] = st.one_of(st.none(), items), calls
        self._response, self._calls = _DRAWN[kinds]  # a response of None: it is whole

    # --- for those who extend it ------------------------------------------------------------------

    def make_tools(self) -> Sequence[Tool]:
        """Return the tools of one example. Override it where a deep copy will not do."""
        return [copy.deepcopy(tool) for tool in self.tools]

    def tool(self, name: str) -> Any:  # noqa: ANN401
        """Return this example's tool of that name."""
        return next(tool for tool in self.world.tools if tool.name == name)

    @property
    def session(self) -> CoreSession:
        return self.world.session

    @property
    def records(self) -> Sequence[Recorded]:
        """What the session has recorded so far."""
        return self.world.session.records

    # --- all goes well ----------------------------------------------------------------------------

    @initialize(op=strategies.turns())
    def first_prompt(self, op: Op) -> None:
        """Begin with a turn that has asked the model, so that every session gets somewhere."""
        self.world.op(op)
        self.world.load()

    @precondition(lambda self: self.world.tools and self.world.open(ModelAsked))
    @precondition(lambda self: not self.world.is_stopping)
    @rule(data=st.data())
    def model_calls(self, data: st.DataObject) -> None:
        """Let the model call a tool as it should be called."""
        self.world.say(data.draw(self._calls, label="call"))

    def _going_on(self) -> list[OpeningDecision]:
        effects = () if self.world.is_stopping else self.session.state.outstanding.values()
        return [effect for effect in effects if not isinstance(effect, ToolDispatched)]

    @precondition(lambda self: self._going_on())
    @rule(data=st.data(), which=_WHICH)
    def goes_on(self, data: st.DataObject, which: int) -> None:
        """Let what is open continue as it naturally does: context, model, questions, children."""
        world, effects = self.world, self._going_on()
        match effects[which % len(effects)]:
            case ContextAsked():
                world.load()
            case ModelAsked():
                if (item := data.draw(self._response, label="model")) is None:
                    world.complete()
                else:
                    world.say(item)
            case ApprovalAsked(question=question):
                world.answer(question, data.draw(strategies.answers(), label="answer"))
            case RetryScheduled():
                world.fire()
            case effect:
                world.go_on(effect, data.draw(strategies.prompts(), label="text"))

    # --- users ------------------------------------------------------------------------------------

    @rule(op=strategies.ops())
    def user_sends(self, op: Op) -> None:
        """Prompt, steer, interrupt or change settings, in any state."""
        self.world.op(op)

    @precondition(lambda self: self.world.turn is None)
    @rule(op=strategies.tasks())
    def user_asks_for_a_task(self, op: Op) -> None:
        """Compact, undo, redo, run a command, review or name the session, while it is idle."""
        self.world.op(op)
        if self.world.open(ContextAsked):
            self.world.load()

    @precondition(lambda self: self.session.ops)
    @rule(data=st.data())
    def something_comes_twice(self, data: st.DataObject) -> None:
        """Repeat an op, an answer, or a result whose effect is closed. It changes nothing."""
        ops = [f"op-{number + 1}" for number in range(self.session.ops)]
        deeds: list[Callable[[], object]] = [partial(self.session.op, Interrupt(), ops[-1])]
        deeds += [partial(self.world.answer, one, "approved") for one in questions(self.session)]
        for effect in self.session.closed_effects:
            deeds.append(partial(self.session.send, ToolFinished(effect, "done", "", "late")))
        deeds[data.draw(st.integers(0, len(deeds) - 1), label="which")]()

    # --- the engine and its machine ---------------------------------------------------------------

    @rule(how=st.sampled_from(("killed", "closed")), on_recovery=strategies.crashes())
    def engine_ends(self, how: str, on_recovery: OnRecovery) -> None:
        """Kill the engine, or close the session; then open it again."""
        if how == "killed":
            self.world.crash(on_recovery)
        else:
            self.world.restart()

    @precondition(lambda self: self.session.state.outstanding)
    @rule(which=_WHICH, dies=st.booleans(), failure=strategies.model_failures())
    def fails(self, which: int, dies: bool, failure: ModelFailure) -> None:
        """Let the model fail, or any work's task die; of a turn that stops, let it be gone."""
        effects = list(self.session.state.outstanding.values())
        effect = effects[which % len(effects)]
        if self.world.is_stopping:
            self.world.close(effect, "cancelled")
        elif isinstance(effect, ModelAsked) and not dies:
            self.world.fail(failure)
        else:
            self.world.close(effect, "crashed", "its task died")

    # --- tools ------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.runnable())
    @rule(which=_WHICH)
    def tool_finishes(self, which: int) -> None:
        """Run a call's tool, and let its result arrive."""
        call = self._runnable(which)
        self.world.run(call)
        self.world.report(call)

    @precondition(lambda self: self.world.runnable())
    @rule(which=_WHICH)
    def tool_runs(self, which: int) -> None:
        """Run a call's tool. Anything may happen before its result arrives."""
        self.world.run(self._runnable(which))

    @precondition(lambda self: self.world.reporting())
    @rule(which=_WHICH)
    def result_arrives(self, which: int) -> None:
        calls = self.world.reporting()
        self.world.report(calls[which % len(calls)])

    @precondition(lambda self: self.world.runnable())
    @rule(which=_WHICH, checkpoint=_CHECKPOINTS)
    def interrupt_in_a_tool(self, which: int, checkpoint: int) -> None:
        """Interrupt the turn while a tool is at its n-th checkpoint."""
        self.world.interrupt_tool(self._runnable(which), checkpoint)

    @precondition(lambda self: self.world.runnable())
    @rule(which=_WHICH, checkpoint=_CHECKPOINTS, on_recovery=strategies.crashes())
    def crash_in_a_tool(self, which: int, checkpoint: int, on_recovery: OnRecovery) -> None:
        """Kill the engine while a tool is at its n-th checkpoint."""
        self.world.run(self._runnable(which), stop_after=checkpoint)
        self.world.crash(on_recovery)

    def _runnable(self, which: int) -> ToolDispatched:
        calls = self.world.runnable()
        return calls[which % len(calls)]

    # --- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let the session become idle; save it if it has failed. An override has to call it.

        Raises:
            PromiseBroken: it does not become idle.
        """
        failure = sys.exception()
        if failure is None or failure is self._handled:
            try:
                self.world.settle()
            except AssertionError as error:
                self._save(error)
                raise
        elif isinstance(failure, Exception):
            self._save(failure)

    def _save(self, failure: Exception) -> None:
        """Save the session if this is the smallest, which hypothesis runs at last."""
        if isinstance(failure, HypothesisException) and not isinstance(failure, InvalidArgument):
            return  # how it leaves an example, and no failure
        with suppress(InvalidArgument):  # raised outside of a test
            if not current_build_context().is_final:
                return
        failure.add_note(save_records(type(self).__name__, self.records))
