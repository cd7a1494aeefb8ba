"""Leave an op for the process that runs a session, and wait until that process has taken it."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.queues.replies import rejection
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import require_store, store_path
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Busy, Failed, Rejected
from turnlog.protocol.events import OpReceived, OpRefused, StepFailed
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Op, Submission
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import open_log

TAKEN_SECONDS: Final = 10.0  # how long the process that runs a session may take to take an op
STAYS: Final = "It stays in the session's inbox: whoever runs the session next takes it."


async def leave_op(prefix: str, op: Op, origin: str) -> Sequence[Recorded]:
    """Leave `op` to the process that runs a session; return the step that dealt with it.

    Args:
        prefix: the session, as `find_session` takes it.
        origin: who sends the op, for the log.

    Raises:
        UsageError: the op cannot be stored, or several sessions fit.
        NotFound: no session fits.
        Rejected: no process runs the session, and nothing was left; or the session refused the op.
        Busy: its process does not answer; whoever runs the session next takes the op.
        Failed: deciding about it failed.
    """
    op = doors.op("op", op)
    require_store(prefix)
    async with open_log(store_path()) as log:
        session = await find_session(log, prefix)
        head = (await log.head(session)).sequence
        if await log.holder(session) is None:
            raise Rejected(
                ErrorCode.NOT_RUNNING,
                f"no process runs session {session}. `turnlog exec resume {session} TEXT` "
                "continues it, and finishes a turn that was cut off first.",
            )
        op_id = new_id()
        await log.leave(session, Submission(op_id, op, origin))
        step = await taken(log, session, op_id, head)
    require_no_failure(step, f"session {session} failed at it")
    return step


async def taken(log: EventLog, session: SessionId, op_id: str, head: int) -> list[Recorded]:
    """Wait until the session's own process has taken an op; return the step that dealt with it.

    Args:
        head: sequence of the session's last event before the op was left.

    Raises:
        Busy: it has not within TAKEN_SECONDS; the op stays where it is.
        Rejected: the session refused it.
    """
    with trio.move_on_after(TAKEN_SECONDS):
        async for recorded in log.follow(session, after=head):
            event = recorded.event
            if isinstance(event, OpReceived) and event.op_id == op_id:
                return [recorded, *await _decided(log, session, recorded.sequence)]
    raise Busy(
        ErrorCode.NOT_TAKEN,
        f"the process that runs session {session} has not taken this yet. {STAYS} "
        f"`turnlog show -f {session}` shows it then.",
    )


async def _decided(log: EventLog, session: SessionId, fact: int) -> list[Recorded]:
    """Return the decisions about a fact. They are on disk with it.

    Raises:
        Rejected: it is an op, and was refused.
    """
    page = await log.read(session, after=fact)
    decided = list(takewhile(lambda recorded: recorded.cause == fact, page))
    for recorded in decided:
        if isinstance(recorded.event, OpRefused):
            raise rejection(recorded.event)
    return decided


def require_no_failure(step: Sequence[Recorded], failure_prefix: str) -> None:
    """Check that the session dealt with an op.

    Raises:
        Failed: deciding about it failed. Its text begins with `failure_prefix`.
    """
    for recorded in step:
        if isinstance(recorded.event, StepFailed):
            raise Failed(ErrorCode.STEP_FAILED, f"{failure_prefix}: {recorded.event.message}")
