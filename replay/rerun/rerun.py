"""Running a session again in a branch: live, from its recording, or from a mixture of both.

* `rerun` goes on live behind an event, with another model, prompt or policy, and the same inputs.
* `simulate` puts recorded ports in the place of the model, of the tools, or of both.

Recorded ports fail closed: what the recording does not hold is an error, never a live call.
"""

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import attrs
from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import (
    Children,
    ContextLoader,
    EventLog,
    ModelClient,
    Ports,
    Tools,
    Workspace,
)
from turnlog.actors.stored_state.pages import read_whole
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import SequenceOutOfRange, UsageError
from turnlog.protocol.events import OpReceived, TurnOpened
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import OverrideTurnContext, TextInput, UserInput, UserTurn, prompt
from turnlog.protocol.settings import SessionSettings, SettingsUpdate
from turnlog.replay.rerun.child_ids import Aliases
from turnlog.replay.rerun.comparison import TurnComparison, compare, in_recording, turn_outcomes
from turnlog.replay.rerun.in_memory import in_memory
from turnlog.replay.rerun.ports.children import RecordedChildren
from turnlog.replay.rerun.ports.context import ChangedContext, RecordedContext
from turnlog.replay.rerun.ports.model import RecordedModel
from turnlog.replay.rerun.ports.tools import RecordedTools
from turnlog.replay.rerun.ports.workspace import RecordedWorkspace
from turnlog.replay.rerun.recorded_order import Cues, Key
from turnlog.replay.rerun.recorded_user import (
    Answers,
    Driver,
    Input,
    inputs_of,
    waits_for_user,
    without,
)
from turnlog.replay.rerun.recording import Recording, record_ports
from turnlog.replay.rerun.request_matching import Miss, RequestBook
from turnlog.replay.rerun.tolerances import LIVE, Tolerances
from turnlog.runtime.assembly import SystemClock, built_in_tools, model_client, open_sandbox
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home
from turnlog.runtime.config.load import load_config
from turnlog.runtime.config.project import standing_folder
from turnlog.runtime.config.schema import Config
from turnlog.runtime.context.loader import TurnContextLoader
from turnlog.runtime.engine.engine import running
from turnlog.runtime.engine.foresight import ForeseeingLoader, Foresight
from turnlog.runtime.sandbox.confinement import Sandbox
from turnlog.runtime.sandbox.guard import OPEN
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.workspace.files import WorkspaceFiles

Source = Literal["recorded", "live"]
_NOTHING: Mapping[str, Any] = {}


class NothingToRerun(UsageError):
    """No input of a user follows the chosen event.

    Choose an earlier event with `--at`.
    """

    code = "nothing_to_rerun"


class RerunReport(Struct, frozen=True):
    """What a branch made of the original's inputs, turn by turn."""

    session: SessionId
    branch: SessionId
    cut: int  # sequence of the last event that both have
    kept: bool  # whether the branch is in the store
    turns: tuple[TurnComparison, ...]
    misses: tuple[Miss, ...]  # what recorded ports were asked for and do not hold
    declined: tuple[str, ...]  # questions of the branch to which no answer was recorded
    same_conversation: bool  # the model's whole input is equal, byte for byte

    @property
    def same(self) -> bool:
        """Whether every turn has the same calls, outputs, answer and status."""
        return not self.misses and all(turn.same for turn in self.turns)


async def rerun(
    prefix: str,
    *,
    home: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    at: int | None = None,
    text: str | None = None,
    changes: Mapping[str, Any] = _NOTHING,
    record: Literal["model", "tools", "none"] = "none",
    tolerances: Tolerances | None = None,
    keep: bool = True,
    warn: Callable[[str], None] | None = None,
) -> RerunReport:
    """Branch from a session and give it the original's further inputs, live.

    Each input is a turn of its own, also one that steered a turn then. Questions get the answers
    that equal ones got; others are declined.

    Args:
        at: the last event that counts; with `record`, the turn that it stands in is run from its
            beginning. Default: all in front of the first input.
        text: a prompt in the place of the first input.
        changes: fields of `SessionSettings` that hold in every turn of the branch.
        record: which port is recorded all the same.
        keep: whether the branch stays in the store.
        warn: is told what the user should know, as that of `open_engine`.

    Raises:
        NothingToRerun: there are no inputs behind `at`, and there is no `text`.
        SessionNotFound, AmbiguousSession, SequenceOutOfRange, ConfigInvalid, LogDamaged
    """
    order = _Order(
        at,
        recorded_model=record == "model",
        recorded_tools=record == "tools",
        keep=keep,
        text=text,
        changes=changes,
        tolerances=tolerances or Tolerances(LIVE if record == "model" else ()),
        one_by_one=record == "none",
        warn=warn,
    )
    return await _run(prefix, home, config, order)


async def simulate(
    prefix: str,
    *,
    home: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    at: int | None = None,
    model: Source = "recorded",
    tools: Source = "recorded",
    keep: bool = False,
    tolerances: Tolerances | None = None,
    warn: Callable[[str], None] | None = None,
) -> RerunReport:
    """Run a session again with its inputs in their places, and recorded ports for live ones.

    With both ports recorded, nothing is reached and the conversation must be the same. What a turn
    starts with is recorded in any case, unless both ports are live. Live tools do run.

    Args:
        at: begin with the turn that this event stands in. Default: with the first.
        tolerances: what may differ in a request that is answered from the recording. Default:
            nothing; with live tools, how long they took.
        keep: whether the branch stays in the store.
        warn: is told what the user should know, as that of `open_engine`.

    Raises:
        NothingToRerun: no input comes from there on.
        SessionNotFound, AmbiguousSession, SequenceOutOfRange, ConfigInvalid, LogDamaged
    """
    order = _Order(
        at,
        recorded_model=model == "recorded",
        recorded_tools=tools == "recorded",
        keep=keep,
        tolerances=tolerances or Tolerances(LIVE if tools == "live" else ()),
        warn=warn,
    )
    return await _run(prefix, home, config, order)


@attrs.frozen(kw_only=True)
class _Order:
    at: int | None = attrs.field(kw_only=False)
    recorded_model: bool
    recorded_tools: bool
    keep: bool
    tolerances: Tolerances
    text: str | None = None
    changes: Mapping[str, Any] = _NOTHING
    one_by_one: bool = False
    warn: Callable[[str], None] | None = None

    @property
    def recorded_ports(self) -> tuple[str, ...]:
        if not self.recorded_model:  # then nothing keeps the recorded order
            return ()
        recorded = ("model", "context", "child", "tell")
        return (*recorded, "tool") if self.recorded_tools else recorded

    def cues_have(self, key: Key) -> bool:
        """Say whether a branch has what was recorded under this name: a live model may not."""
        return self.recorded_model or key[0] == "over" or key[:2] == ("asked", "model")


async def _run(
    prefix: str,
    home: str | os.PathLike[str] | None,
    config: Config | None,
    order: _Order,
) -> RerunReport:
    environ = dict(os.environ)
    if home is not None:
        environ["TURNLOG_HOME"] = os.fspath(home)
    store = turnlog_home(environ) / STORE_FOLDER
    async with AsyncExitStack() as stack:
        log: EventLog = await stack.enter_async_context(open_log(store, read_only=not order.keep))
        session = await log.resolve(prefix)
        records = await read_whole(log, session)
        if not order.keep:
            place = None if order.recorded_tools else log.place
            await stack.aclose()
            log = await in_memory(records, place)  # where nothing runs, no rights are needed
        return await _branch(log, session, records, config, environ, order)


async def _branch(
    log: EventLog,
    session: SessionId,
    records: list[Recorded],
    config: Config | None,
    environ: dict[str, str],
    order: _Order,
) -> RerunReport:
    cut = _cut(records, order)
    later = (r.sequence - 1 for r in records if r.role == "fact" and r.sequence > cut)
    cut = next(later, len(records))  # the end of the step
    inputs = _inputs(records, cut, order)
    cues = Cues()
    if not order.one_by_one:
        cues = Cues.of(records, cut, order.cues_have, order.recorded_ports)
    recording = record_ports(records, after=cut)
    earlier = record_ports(records).questions
    if order.recorded_model and order.recorded_tools:  # then each question comes again
        for asked in recording.questions.values():
            if asked.answered_at is not None:
                cues.expect(("answer", asked.answered_at), asked.answered_at, asked.turn)
    misses: list[Miss] = []
    children = frozenset(run.asked.child for run in record_ports(records).children)
    aliases = Aliases(children)
    made_of = _Parts(log, records, cut, recording, cues, aliases, misses)
    async with _ports(made_of, config, environ, order) as made:
        ports, defaults = made
        async with running(ports, lambda _: defaults) as engine:
            branch = await engine.fork(session, at=cut)
            answers = Answers.of(earlier.values(), recording.questions.values())
            driver = Driver(branch, cues, answers, order.one_by_one, lambda: bool(misses))
            await driver.play(inputs)
            made_events = await read_whole(log, branch.id)
    outcomes = in_recording(turn_outcomes(made_events, after=cut), aliases)
    turns = compare(turn_outcomes(records, after=cut), outcomes, order.tolerances)
    made_parts = map(aliases.in_recording, rebuild(made_events).history.parts)
    same = rebuild(records).history.parts == list(made_parts)
    return RerunReport(
        session,
        branch.id,
        cut,
        order.keep,
        tuple(turns),
        tuple(misses),
        tuple(driver.declined),
        same,
    )


def _cut(records: Sequence[Recorded], order: _Order) -> int:
    """Return the last event that counts.

    Raises:
        SequenceOutOfRange, NothingToRerun
    """
    if order.at is not None:
        if not 1 <= order.at <= len(records):
            raise SequenceOutOfRange(order.at, len(records))
        return order.at if order.one_by_one else _before_turn(records, order.at)
    for record in records:
        if isinstance(record.event, OpReceived) and isinstance(
            record.event.op, UserInput | UserTurn
        ):
            return record.sequence - 1
    if order.text is not None:
        return len(records)
    raise NothingToRerun("this session has no input that could be given again.")


def _before_turn(records: Sequence[Recorded], at: int) -> int:
    """Return the last event in front of the turn that `at` stands in, and of its input.

    An input that waited for its turn was given in an earlier one: then that one's counts.
    """
    while (turn := records[at - 1].turn) != 0:
        opened = next(
            (r for r in records if r.turn == turn and isinstance(r.event, TurnOpened)), None
        )
        if opened is None or not isinstance(opened.event, TurnOpened):
            return at
        name = opened.event.op_id
        given = next(
            (
                r.sequence
                for r in records
                if isinstance(r.event, OpReceived) and r.event.op_id == name
            ),
            opened.cause,
        )
        at = given - 1
        if records[given - 1].turn in (0, turn):
            return at
    return at


def _inputs(records: Sequence[Recorded], cut: int, order: _Order) -> list[Input]:
    inputs = [
        structs.replace(given, op=without(given.op, order.changes))
        for given in inputs_of(records, after=cut, interrupts=not order.one_by_one)
    ]
    if order.text is not None:
        first = next((i for i, given in enumerate(inputs) if given.speaks), None)
        if first is None:
            inputs.append(Input(cut + 1, prompt(order.text)))
        else:
            inputs[first] = Input(inputs[first].at, _reworded(inputs[first], order.text))
    if not any(given.speaks for given in inputs):
        raise NothingToRerun(
            f"no input of a user comes after event {cut}. Give a prompt, or an earlier event."
        )
    lasting = {n: v for n, v in order.changes.items() if n in SettingsUpdate.__struct_fields__}
    if lasting:  # whoever goes on with the branch goes on with them
        inputs.insert(0, Input(cut, OverrideTurnContext(SettingsUpdate(**lasting))))
    return inputs


def _reworded(given: Input, text: str) -> UserInput | UserTurn:
    assert isinstance(given.op, UserInput | UserTurn)  # it speaks
    return structs.replace(given.op, items=(TextInput(text),))


@attrs.frozen
class _Parts:
    """What recorded ports are made of."""

    log: EventLog
    records: Sequence[Recorded]
    cut: int
    recording: Recording
    cues: Cues
    aliases: Aliases
    misses: list[Miss]


@asynccontextmanager
async def _ports(
    made_of: _Parts, config: Config | None, environ: dict[str, str], order: _Order
) -> AsyncGenerator[tuple[Ports, SessionSettings]]:
    """Make the ports that the order asks for. What is recorded cannot reach the world.

    Children are live where both model and tools are: then they are sessions of this engine.
    """
    records, cut, recording = made_of.records, made_of.cut, made_of.recording
    cues, aliases, misses = made_of.cues, made_of.aliases, made_of.misses
    settings = rebuild(records[:cut]).settings
    if settings is None:
        raise NothingToRerun(f"the session has not begun at event {cut}.")
    is_live = not (order.recorded_model and order.recorded_tools)
    if config is None and (is_live or order.changes):
        config = _config(settings.cwd, environ)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        sandbox: Sandbox | None = None
        if config is not None:
            sandbox = await stack.enter_async_context(open_sandbox(environ, config))
        tools: Tools
        foresight: Foresight | None = None
        if order.recorded_tools:
            tools = RecordedTools(
                recording, order.tolerances, cues if order.recorded_model else None, misses, aliases
            )
        else:
            assert sandbox is not None  # a configuration was loaded for that
            tools = built_in_tools(environ, sandbox)
            foresight = Foresight(sandbox, environ, order.warn)
        live: ContextLoader | None = None
        if config is not None and sandbox is not None:
            live = TurnContextLoader(config, tools, clock, environ, sandbox)
            live = live if foresight is None else ForeseeingLoader(live, foresight)
        patient = not order.recorded_model or waits_for_user(records, after=cut)
        model: ModelClient
        if order.recorded_model:
            book = RequestBook(recording.exchanges, order.tolerances)
            model = RecordedModel(book, cues, patient, misses, aliases)
        else:
            assert config is not None  # it was loaded for that
            model = model_client(config, environ, "turnlog_rerun")
        context: ContextLoader
        if order.recorded_model or order.recorded_tools:
            context = RecordedContext(recording, order.changes, live, patient, cues=cues)
        else:
            assert live is not None  # config was loaded for that
            context = ChangedContext(live, order.changes)
        children: Children | None = None
        if order.recorded_model or order.recorded_tools:
            ordered = cues if order.recorded_model else None
            children = RecordedChildren(recording, aliases, ordered, misses)
        workspace: Workspace = WorkspaceFiles(OPEN if sandbox is None else sandbox.guard)
        if order.recorded_tools:
            workspace = RecordedWorkspace(recording, cues if order.recorded_model else None)
        ports = Ports(made_of.log, model, tools, context, clock, children, workspace)
        yield ports, settings


def _config(cwd: str, environ: Mapping[str, str]) -> Config:
    """Load the configuration of the session's folder, or of this one if that is gone."""
    return load_config(cwd if os.path.isdir(cwd) else standing_folder(), environ=environ)
