"""Running a session again in a branch: live, from its recording, or from a mixture of both.

* `rerun` continues live after an event, with another model, prompt or policy, and the same inputs.
* `simulate` replaces the model, the tools or both by recorded ports.

Recorded ports fail closed: what the recording does not hold is an error, never a live call.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.pages import read_whole
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError, event_not_found
from turnlog.protocol.events import OpReceived, TurnOpened
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import OverrideTurnContext, TextInput, UserInput, UserTurn, prompt
from turnlog.protocol.settings import SettingsUpdate
from turnlog.replay.rerun.branch_ports import Branching, branch_ports
from turnlog.replay.rerun.child_ids import ChildIds
from turnlog.replay.rerun.comparison import TurnComparison, compare, in_recording, turn_outcomes
from turnlog.replay.rerun.in_memory import in_memory
from turnlog.replay.rerun.plan import Plan, Source
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recorded_order import RecordedOrder, answer_key
from turnlog.replay.rerun.recorded_user import (
    Answers,
    Input,
    RecordedUser,
    inputs_of,
    without,
)
from turnlog.replay.rerun.recording import Recording, record_ports
from turnlog.replay.rerun.request_matching import Mismatch
from turnlog.replay.rerun.tolerances import LIVE, Tolerances
from turnlog.runtime.config.home import STORE_FOLDER, turnlog_home
from turnlog.runtime.config.schema import Config
from turnlog.runtime.engine.engine import running
from turnlog.runtime.store.lmdb.log import open_log

_NOTHING: Mapping[str, Any] = {}


class RerunReport(Struct, frozen=True):
    """What a branch made of the original's inputs, turn by turn."""

    session: SessionId
    branch: SessionId
    cut: int  # sequence of the last event that both have
    kept: bool  # whether the branch is in the store
    turns: tuple[TurnComparison, ...]
    misses: tuple[Mismatch, ...]  # what recorded ports were asked for and do not hold
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

    Each input is a turn of its own, also one that steered a turn then. A question gets the answer
    that an equal one got; any other question is declined.

    Args:
        at: the last event that counts; with `record`, its turn is run from the beginning. Default:
            the event before the first input.
        text: a prompt that replaces the first input.
        changes: fields of `SessionSettings` that hold in every turn of the branch.
        record: the port that is recorded all the same.
        keep: whether the branch stays in the store.
        warn: is given each text for the user, as `open_engine` does.

    Raises:
        UsageError: there are no inputs after `at`, and there is no `text`.
        NotFound, LogDamaged
    """
    plan = Plan(
        at=at,
        model="recorded" if record == "model" else "live",
        tools="recorded" if record == "tools" else "live",
        keep=keep,
        text=text,
        changes=changes,
        tolerances=tolerances or Tolerances(LIVE if record == "model" else ()),
        one_by_one=record == "none",
        warn=warn,
    )
    return await _run(prefix, home, config, plan)


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

    With both ports recorded, nothing is reached and the conversation must be the same. The context
    of a turn is recorded unless both ports are live. Live tools do run.

    Args:
        at: begin with the turn of this event. Default: with the first turn.
        tolerances: what may differ in a request that is answered from the recording. Default:
            nothing; with live tools, how long they took.
        keep: whether the branch stays in the store.
        warn: is given each text for the user, as `open_engine` does.

    Raises:
        UsageError: no input follows.
        NotFound, LogDamaged
    """
    plan = Plan(
        at=at,
        model=model,
        tools=tools,
        keep=keep,
        tolerances=tolerances or Tolerances(LIVE if tools == "live" else ()),
        warn=warn,
    )
    return await _run(prefix, home, config, plan)


async def _run(
    prefix: str,
    home: str | os.PathLike[str] | None,
    config: Config | None,
    plan: Plan,
) -> RerunReport:
    environ = dict(os.environ)
    if home is not None:
        environ["TURNLOG_HOME"] = os.fspath(home)
    store = turnlog_home(environ) / STORE_FOLDER
    async with AsyncExitStack() as stack:
        log: EventLog = await stack.enter_async_context(open_log(store, read_only=not plan.keep))
        session = await log.resolve(prefix)
        records = await read_whole(log, session)
        if not plan.keep:
            place = None if plan.tools == "recorded" else log.place
            await stack.aclose()
            log = await in_memory(records, place)  # where nothing runs, no rights are needed
        return await _branch(log, session, records, config, environ, plan)


async def _branch(
    log: EventLog,
    session: SessionId,
    records: list[Recorded],
    config: Config | None,
    environ: dict[str, str],
    plan: Plan,
) -> RerunReport:
    cut = _cut(records, plan)
    later = (r.sequence - 1 for r in records if r.role == "fact" and r.sequence > cut)
    cut = next(later, len(records))  # the end of the step
    inputs = _inputs(records, cut, plan)
    settings = rebuild(records[:cut]).settings
    if settings is None:
        raise UsageError(ErrorCode.NOTHING_TO_RERUN, f"the session has not begun at event {cut}.")
    whole, recording = record_ports(records), record_ports(records, after=cut)
    child_ids = ChildIds(frozenset(run.asked.child for run in whole.children))
    playback = Playback(_recorded_order(records, cut, recording, plan), child_ids)
    branching = Branching(log, records, cut, settings, recording, playback, environ)
    answers = Answers.of(whole.questions.values(), recording.questions.values())
    async with (
        branch_ports(plan, branching, config) as ports,
        running(ports, lambda _: settings) as engine,
    ):
        branch = await engine.fork(session, at=cut)
        user = RecordedUser(
            branch, playback.order, answers, plan.one_by_one, lambda: bool(playback.mismatches)
        )
        await user.play(inputs)
        made_events = await read_whole(log, branch.id)
    outcomes = in_recording(turn_outcomes(made_events, after=cut), child_ids)
    turns = compare(turn_outcomes(records, after=cut), outcomes, plan.tolerances)
    made_parts = map(child_ids.in_recording, rebuild(made_events).history.texts())
    same = rebuild(records).history.texts() == list(made_parts)
    return RerunReport(
        session,
        branch.id,
        cut,
        plan.keep,
        tuple(turns),
        tuple(playback.mismatches),
        tuple(user.declined),
        same,
    )


def _recorded_order(
    records: Sequence[Recorded], cut: int, recording: Recording, plan: Plan
) -> RecordedOrder:
    if plan.one_by_one:
        return RecordedOrder.none()
    order = RecordedOrder.of(records, cut, plan.keeps, plan.ordered_ports)
    if plan.is_recorded:  # then each question comes again
        for asked in recording.questions.values():
            if asked.answered_at is not None:
                order.expect(answer_key(asked.answered_at), asked.answered_at, asked.turn)
    return order


def _cut(records: Sequence[Recorded], plan: Plan) -> int:
    """Return the last event that counts.

    Raises:
        NotFound, UsageError
    """
    if plan.at is not None:
        if not 1 <= plan.at <= len(records):
            raise event_not_found(plan.at, len(records))
        return plan.at if plan.one_by_one else _before_turn(records, plan.at)
    for record in records:
        if isinstance(record.event, OpReceived) and isinstance(
            record.event.op, UserInput | UserTurn
        ):
            return record.sequence - 1
    if plan.text is not None:
        return len(records)
    raise UsageError(
        ErrorCode.NOTHING_TO_RERUN, "this session has no input that could be given again."
    )


def _before_turn(records: Sequence[Recorded], at: int) -> int:
    """Return the last event before the turn of event `at`, and before the input of that turn.

    An input that waited was given during an earlier turn. Then that turn is left out, too.
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


def _inputs(records: Sequence[Recorded], cut: int, plan: Plan) -> list[Input]:
    inputs = [
        structs.replace(given, op=without(given.op, plan.changes))
        for given in inputs_of(records, after=cut, interrupts=not plan.one_by_one)
    ]
    if plan.text is not None:
        first = next((i for i, given in enumerate(inputs) if given.speaks), None)
        if first is None:
            inputs.append(Input(cut + 1, prompt(plan.text)))
        else:
            inputs[first] = Input(inputs[first].at, _reworded(inputs[first], plan.text))
    if not any(given.speaks for given in inputs):
        raise UsageError(
            ErrorCode.NOTHING_TO_RERUN,
            f"no input of a user comes after event {cut}. Give a prompt, or an earlier event.",
        )
    lasting = {n: v for n, v in plan.changes.items() if n in SettingsUpdate.__struct_fields__}
    if lasting:  # they hold also for whoever continues the branch later
        inputs.insert(0, Input(cut, OverrideTurnContext(SettingsUpdate(**lasting))))
    return inputs


def _reworded(given: Input, text: str) -> UserInput | UserTurn:
    assert isinstance(given.op, UserInput | UserTurn)  # it speaks
    return structs.replace(given.op, items=(TextInput(text),))
