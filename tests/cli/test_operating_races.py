"""What another process does while one looks: it ends a turn, or does not answer."""

import attrs
import pytest
import trio
import trio.testing

from tests.core.play import SESSION, Play
from tests.errors import raises_code
from turnlog.actors.ports import Batch, Claim, EventLog
from turnlog.frontends.cli.operate import ORIGIN
from turnlog.frontends.sessions.inbox import taken
from turnlog.frontends.sessions.operate import Notice, Work, opened
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed, NotFound
from turnlog.protocol.events import OpReceived
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import SetName, Submission
from turnlog.replay.testing import ScriptedModel, open_test_engine
from turnlog.runtime.store.memory.log import MemoryLog


class Nobody:
    """A front that shows nothing."""

    def notice(self, notice: Notice, session: SessionId) -> None:
        pass

    async def asked(self, log: EventLog, session: SessionId, question: str) -> None:
        pass


@attrs.define(eq=False)
class Meanwhile(MemoryLog):
    """A log whose session continues when somebody asks who holds it, or wants it for themselves.

    The rest of its events are written by another engine, which is gone again then.
    """

    play: Play = attrs.field(factory=Play.started)
    told: int = 0  # of the play's events, how many are there

    async def go_on(self, until: int | None = None) -> None:
        """Write the play's events up to `until`, or to its end."""
        records = tuple(self.play.stored[self.told : until])
        if not records:
            return
        other = MemoryLog(self.store)
        try:
            claim = await other.claim(SESSION)
        except NotFound:
            claim = await other.create(SESSION)
        self.told += len(records)
        batch = Batch(records, self.play.state.summary)
        await other.append(SESSION, batch, fence=claim.fence).settled()
        await other.release(claim)

    async def holder(self, session: SessionId) -> str | None:
        await self.go_on()
        return await super().holder(session)

    async def claim(self, session: SessionId) -> Claim:
        await self.go_on()
        return await super().claim(session)


def begun() -> tuple[Play, int]:
    """Return a session whose turn is completed, and how many events it had before that."""
    play = Play.started()
    play.ask("hi")
    before = play.state.head
    play.complete()
    return play, before


def asked(play: Play) -> tuple[str, list[Recorded]]:
    """Return the op that began the play's turn, with the step that dealt with it."""
    fact = next(one for one in play.records if isinstance(one.event, OpReceived))
    assert isinstance(fact.event, OpReceived)
    step = [one for one in play.records if fact.sequence in (one.sequence, one.cause)]
    return fact.event.op_id, step


async def test_an_end_that_is_written_while_its_process_leaves_is_seen(
    autojump_clock: trio.testing.MockClock,
) -> None:
    play, before = begun()
    log = Meanwhile(play=play)
    await log.go_on(before)
    op_id, step = asked(play)
    work = Work(log, SESSION, op_id, "nothing was done", Nobody(), elsewhere=True)
    assert await work.watched(step) == play.records[step[-1].sequence :]


async def test_a_process_that_leaves_without_an_end_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    play = Play.started()
    play.ask("hi")
    log = Meanwhile(play=play)
    await log.go_on()
    op_id, step = asked(play)
    work = Work(log, SESSION, op_id, "nothing was done", Nobody(), elsewhere=True)
    with pytest.RaisesGroup(pytest.RaisesExc(Failed, match="has ended"), flatten_subgroups=True):
        await work.watched(step)


async def test_a_turn_that_is_completed_meanwhile_was_not_cut_off() -> None:
    play, before = begun()
    log = Meanwhile(play=play)
    await log.go_on(before)
    async with open_test_engine(ScriptedModel("Again."), log=log) as engine:
        session = await opened(engine, log, SESSION, None)
        *_, end = [recorded async for recorded in session.run("and?")]
    assert end.kind == "turn_ended"


async def test_a_turn_that_was_cut_off_stays_as_it_is() -> None:
    play = Play.started()
    play.ask("hi")
    log = Meanwhile(play=play)
    await log.go_on()
    async with open_test_engine(ScriptedModel(), log=log) as engine:
        with raises_code(ErrorCode.TURN_CUT_OFF):
            await opened(engine, log, SESSION, None)
    kinds = [recorded.kind for recorded in await log.read(SESSION, after=play.state.head)]
    assert "turn_ended" not in kinds


async def test_what_is_not_taken_in_time_stays_for_whoever_runs_the_session_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    play, _ = begun()
    log = Meanwhile(play=play, place=play.state.place)
    await log.go_on()
    await log.leave(SESSION, Submission("named", SetName("mine"), ORIGIN))
    with raises_code(ErrorCode.NOT_TAKEN, match="whoever runs the session next takes it"):
        await taken(log, SESSION, "named", play.state.head)
    async with open_test_engine(ScriptedModel(), log=log) as engine:
        await engine.resume(SESSION)
        (fact,) = await taken(log, SESSION, "named", play.state.head)
    assert isinstance(fact.event, OpReceived)
    assert (fact.event.op, await log.inbox(SESSION)) == (SetName("mine"), [])
