"""Say something to a session through the process that runs it."""

from collections.abc import Sequence

from turnlog.frontends.cli.operate import ORIGIN, require_no_failure, taken
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import require_store, store_path
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Rejected
from turnlog.protocol.ops import Op, Submission
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.store.lmdb.log import open_log


async def say(prefix: str, op: Op) -> Sequence[Recorded]:
    """Leave `op` to the process that runs a session; return the step that dealt with it.

    Raises:
        UsageError: the op cannot be stored.
        NotFound, UsageError
        Rejected: nothing was left.
        Rejected: the session refused it, and says why.
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
        await log.leave(session, Submission(op_id, op, ORIGIN))
        step = await taken(log, session, op_id, head)
    require_no_failure(step, f"session {session} failed at it")
    return step
