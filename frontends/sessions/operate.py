"""Have a session do one op, here or in the process that runs it, and watch it to its end."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Literal, Protocol

import attrs
import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.sessions.inbox import require_no_failure, taken
from turnlog.frontends.sessions.questions import watch_questions
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Busy, Failed, Rejected
from turnlog.protocol.events import (
    ChildAsked,
    Compacted,
    CompactionGivenUp,
    CompactionWanted,
    InputQueued,
    SessionClosed,
    StepFailed,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Op, Submission
from turnlog.protocol.settings import OnRecovery
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.session import Session

# queued: a turn runs, so the op waits. left: we were stopped, the op stays in the session's inbox.
# continues: we were stopped, and another process continues with the op.
Notice = Literal["queued", "left", "continues"]
_PATIENCE: Final = 2.0  # seconds without an event, before we ask whether that process lives


class Front(Protocol):
    """Whoever a front-end shows things to, while an op is being done."""

    def notice(self, notice: Notice, session: SessionId) -> None:
        """Take note of what the person should know. It does not wait."""
        ...

    async def asked(self, log: EventLog, session: SessionId, question: str) -> None:
        """Show a question of an agent that works for the session: its id is `question`."""
        ...


@attrs.frozen
class Request:
    """An op for a session, and what is known about whoever sends it."""

    op: Op
    origin: str  # who sends it, for the log
    on_recovery: OnRecovery | None = None  # of a turn that was cut off; None: nothing is done then
    failure_prefix: str = "nothing was done"  # begins the text of an error


async def operate(
    engine: Engine, log: EventLog, session: SessionId, request: Request, front: Front
) -> Sequence[Recorded]:
    """Have a session do an op; return the events from the op to the end of what it began.

    Where another process runs the session, that one does it.

    Raises:
        Rejected: the session refuses it; or a turn was cut off, and `on_recovery` is None.
        Busy: the session is busy, and its process does not answer.
        Failed: the session took it, and it failed or was interrupted.
    """
    head = (await log.head(session)).sequence
    op_id = new_id()
    try:
        live = await opened(engine, log, session, request.on_recovery)
    except Busy:
        await log.leave(session, Submission(op_id, request.op, request.origin))
        try:
            step = await taken(log, session, op_id, head)
        except trio.Cancelled:
            front.notice("left", session)
            raise
        work = Work(log, session, op_id, request.failure_prefix, front, elsewhere=True)
    else:
        step = list(await live.submit(request.op, op_id=op_id))
        work = Work(log, session, op_id, request.failure_prefix, front)
    require_no_failure(step, request.failure_prefix)
    try:
        return [*step, *await work.watched(step)]
    except trio.Cancelled:
        if work.elsewhere:
            front.notice("continues", session)
        raise


async def opened(
    engine: Engine, log: EventLog, session: SessionId, on_recovery: OnRecovery | None
) -> Session:
    """Open a session to work in it.

    Args:
        on_recovery: what becomes of a turn that was cut off. None: it stays as it is.

    Raises:
        Rejected: a turn was cut off, and `on_recovery` is None.
        Busy: another engine runs it.
    """
    if on_recovery is None and (await folded(log, session)).turn is not None:
        live = await engine.resume(session, on_recovery="leave")
        if live.is_running:
            raise Rejected(
                ErrorCode.TURN_CUT_OFF,
                f"the last turn of session {session} was cut off, and this would end it. "
                f"`turnlog exec resume {session}` finishes it; then try again.",
            )
        await live.close()  # the turn was ended meanwhile; opened like this, it takes no work
    return await engine.resume(session, on_recovery=on_recovery or "continue")


@attrs.define(eq=False)
class Work:
    """What an op began, followed to its end."""

    log: EventLog
    session: SessionId
    op_id: str
    failure_prefix: str
    front: Front
    elsewhere: bool = False  # another process does it
    _turn: int = 0  # the turn that is to end; 0: none yet
    _compacts: bool = False  # a compaction within that turn is the end, too

    async def watched(self, step: Sequence[Recorded]) -> list[Recorded]:
        """Return what follows `step` in the turn that it began, to the end; nothing without one.

        What another turn does that runs before it is left out.

        Raises:
            Failed: the end was no good one.
        """
        queued = False
        for recorded in step:
            match recorded.event:
                case TurnOpened(op_id=opened_by) if opened_by == self.op_id:
                    self._turn = recorded.turn
                case CompactionWanted():
                    self._turn, self._compacts = recorded.turn, True
                case InputQueued():
                    queued = True
                case _:
                    pass
        if not self._turn and not queued:
            return []
        if queued or self._compacts:
            self.front.notice("queued", self.session)
        seen: list[Recorded] = []
        async with trio.open_nursery() as nursery:
            async with aclosing(self._events(step[-1].sequence)) as events:
                async for recorded in events:
                    seen.append(recorded)
                    if isinstance(recorded.event, ChildAsked):
                        nursery.start_soon(watch_questions, self.log, recorded, self._asked)
                    if self._is_end(recorded):
                        break
            nursery.cancel_scope.cancel()
        self._require_good(seen[-1])
        return [recorded for recorded in seen if recorded.turn == self._turn]

    async def _asked(self, session: SessionId, question: str) -> None:
        await self.front.asked(self.log, session, question)

    async def _events(self, after: int) -> AsyncGenerator[Recorded]:
        follower = aiter(self.log.follow(self.session, after=after))
        seen = after
        while True:
            recorded: Recorded | None = None
            with trio.move_on_after(_PATIENCE):
                recorded = await anext(follower)
            if recorded is not None:
                seen = recorded.sequence
                yield recorded
            elif self.elsewhere and await self.log.holder(self.session) is None:
                if await self.log.read(self.session, after=seen, limit=1):
                    continue  # its last words came while we asked
                raise Failed(
                    ErrorCode.NOT_DONE,
                    f"{self.failure_prefix}: the process that ran session {self.session} has "
                    f"ended. `turnlog exec resume {self.session}` continues its turn.",
                )

    def _is_end(self, recorded: Recorded) -> bool:
        match recorded.event:
            case TurnOpened(op_id=opened_by) if opened_by == self.op_id:
                self._turn = recorded.turn
                return False
            case TurnEnded() | StepFailed():
                return recorded.turn == self._turn
            case Compacted() | CompactionGivenUp():
                return self._compacts
            case SessionClosed():
                return True
            case _:
                return False

    def _require_good(self, end: Recorded) -> None:
        match end.event:
            case TurnEnded(status="failed" | "interrupted", error=ErrorInfo(code, message)):
                raise Failed(code, f"{self.failure_prefix}: {message}")
            case TurnEnded(status="failed" | "interrupted" as status):
                raise Failed(ErrorCode.NOT_DONE, f"{self.failure_prefix}: the turn was {status}")
            case StepFailed(message=message):
                raise Failed(ErrorCode.STEP_FAILED, f"{self.failure_prefix}: {message}")
            case SessionClosed():
                raise Failed(
                    ErrorCode.NOT_DONE, f"{self.failure_prefix}: the session was closed before"
                )
            case _:
                pass
