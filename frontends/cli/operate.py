"""Do one thing to a session, here or through whichever process runs it, and watch it done."""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Final

import attrs
import click
import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.queues.replies import rejection
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.cli.signals import until_stopped
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.pause_notice import tell_pauses
from turnlog.frontends.sessions.questions import question_note, tell_questions
from turnlog.frontends.sessions.settings import ChosenSettings, changes_nothing
from turnlog.frontends.sessions.store import require_store, working_folder
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
    OpReceived,
    OpRefused,
    SessionClosed,
    StepFailed,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Op, OverrideTurnContext, Submission
from turnlog.protocol.settings import OnRecovery
from turnlog.runtime.assembly import Assembly, open_assembly
from turnlog.runtime.config.project import standing_folder
from turnlog.runtime.config.schema import Config
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.session import Session

ORIGIN: Final = "command line"
TAKEN_SECONDS: Final = 10.0  # how long the process that runs a session may take to take an op
STAYS: Final = "It stays in the session's inbox: whoever runs the session next takes it."
_PATIENCE: Final = 2.0  # seconds without an event, before we ask whether that process lives


async def operate(
    prefix: str,
    op: Op,
    *,
    chosen: ChosenSettings,
    on_recovery: OnRecovery | None = None,
    vain: str = "nothing was done",
    warn: Callable[[str], None] | None = None,
) -> Sequence[Recorded]:
    """Have a session do `op`; return the events from the op to the end of what it began.

    Where another process runs the session, that one does it. A signal to stop is obeyed.

    Args:
        prefix: the session, as `find_session` takes it.
        chosen: settings that the command line names. The session keeps them, as after a prompt.
        on_recovery: what becomes of a turn that was cut off, if nobody runs the session.
            None: nothing is done then.
        vain: begins what is said if the op comes to nothing.
        warn: is told what the user should know, where the op lets a model run commands.

    Raises:
        UsageError: the op or a setting cannot be stored.
        UsageError: the configuration cannot be used.
        UsageError: the chosen folder is no folder.
        NotFound, UsageError
        Rejected: as `on_recovery` says.
        Rejected: the session refuses it, and says why.
        Busy: the session is busy, and its process does not answer.
        Failed: the session took it, and it failed or was interrupted.
        click.exceptions.Exit: a signal came first.
    """
    op = doors.op("op", op)
    require_store(prefix)

    async def work(nursery: trio.Nursery) -> Sequence[Recorded]:
        cwd = standing_folder() if chosen.folder is None else working_folder(chosen.folder)
        config = chosen.load(cwd, os.environ)
        update = chosen.update(config, cwd)
        async with open_assembly(config=config, warn=warn) as assembly:
            nursery.start_soon(tell_pauses, assembly.log, _tell)
            session = await find_session(assembly.log, prefix)
            await _warn_of_provider(assembly.log, session, chosen, config)
            if not changes_nothing(update):
                change = doors.op("op", OverrideTurnContext(update))
                await _operate(assembly, session, change, on_recovery, vain)
            return await _operate(assembly, session, op, on_recovery, vain)

    return await until_stopped(work)


async def _warn_of_provider(
    log: EventLog, session: SessionId, chosen: ChosenSettings, config: Config
) -> None:
    settings = (await folded(log, session)).settings
    if settings is not None and (kept := chosen.kept_provider(config, settings)):
        await _tell(f"Warning: {kept}")


async def _operate(
    assembly: Assembly, session: SessionId, op: Op, on_recovery: OnRecovery | None, vain: str
) -> Sequence[Recorded]:
    log = assembly.log
    head = (await log.head(session)).sequence
    op_id = new_id()
    try:
        live = await opened(assembly.engine, log, session, on_recovery)
    except Busy:
        await log.leave(session, Submission(op_id, op, ORIGIN))
        try:
            step = await taken(log, session, op_id, head)
        except trio.Cancelled:
            click.echo(STAYS, err=True)
            raise
        work = Work(log, session, op_id, vain, elsewhere=True)
    else:
        step = list(await live.submit(op, op_id=op_id))
        work = Work(log, session, op_id, vain)
    require_no_failure(step, vain)
    try:
        return [*step, *await work.watched(step)]
    except trio.Cancelled:
        if work.elsewhere:
            click.echo(f"It goes on: `turnlog show -f {session}` shows it.", err=True)
        raise


def _cut_off(session: SessionId) -> Rejected:
    return Rejected(
        ErrorCode.TURN_CUT_OFF,
        f"the last turn of session {session} was cut off, and this would end it. "
        f"`turnlog exec resume {session}` finishes it; then try again.",
    )


async def opened(
    engine: Engine, log: EventLog, session: SessionId, on_recovery: OnRecovery | None
) -> Session:
    """Open a session to work in it.

    Args:
        on_recovery: what becomes of a turn that was cut off. None: it stays as it is.

    Raises:
        Rejected: as `on_recovery` says.
        Busy: another engine runs it.
    """
    if on_recovery is None and (await folded(log, session)).turn is not None:
        live = await engine.resume(session, on_recovery="leave")
        if live.is_running:
            raise _cut_off(session)
        await live.close()  # the turn was ended meanwhile; opened like this, it takes no work
    return await engine.resume(session, on_recovery=on_recovery or "continue")


def _not_taken(session: SessionId) -> Busy:
    return Busy(
        ErrorCode.NOT_TAKEN,
        f"the process that runs session {session} has not taken this yet. {STAYS} "
        f"`turnlog show -f {session}` shows it then.",
    )


async def taken(log: EventLog, session: SessionId, op_id: str, head: int) -> list[Recorded]:
    """Wait until the session's own process has taken an op; return the step that dealt with it.

    Raises:
        Busy: it has not in time; the op stays where it is.
        Rejected: the session refused it.
    """
    with trio.move_on_after(TAKEN_SECONDS):
        async for recorded in log.follow(session, after=head):
            event = recorded.event
            if isinstance(event, OpReceived) and event.op_id == op_id:
                return [recorded, *await _decided(log, session, recorded.sequence)]
    raise _not_taken(session)


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


def require_no_failure(step: Sequence[Recorded], vain: str) -> None:
    """Check that the session dealt with an op.

    Raises:
        Failed: deciding about it failed.
    """
    for recorded in step:
        if isinstance(recorded.event, StepFailed):
            raise Failed(ErrorCode.STEP_FAILED, f"{vain}: {recorded.event.message}")


@attrs.define(eq=False)
class Work:
    """What an op began, followed to its end."""

    log: EventLog
    session: SessionId
    op_id: str
    vain: str
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
            click.echo("A turn is running; this comes as soon as its time has come.", err=True)
        seen: list[Recorded] = []
        async with trio.open_nursery() as nursery:
            async with aclosing(self._events(step[-1].sequence)) as events:
                async for recorded in events:
                    seen.append(recorded)
                    if isinstance(recorded.event, ChildAsked):
                        nursery.start_soon(tell_questions, self.log, recorded, self._ask)
                    if self._is_end(recorded):
                        break
            nursery.cancel_scope.cancel()
        self._require_good(seen[-1])
        return [recorded for recorded in seen if recorded.turn == self._turn]

    async def _ask(self, session: SessionId, question: str) -> None:
        if note := await question_note(self.log, session, question):
            await _tell(note)

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
                    f"{self.vain}: the process that ran session {self.session} has ended. "
                    f"`turnlog exec resume {self.session}` goes on with its turn.",
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
                raise Failed(code, f"{self.vain}: {message}")
            case TurnEnded(status="failed" | "interrupted" as status):
                raise Failed(ErrorCode.NOT_DONE, f"{self.vain}: the turn was {status}")
            case StepFailed(message=message):
                raise Failed(ErrorCode.STEP_FAILED, f"{self.vain}: {message}")
            case SessionClosed():
                raise Failed(ErrorCode.NOT_DONE, f"{self.vain}: the session was closed before")
            case _:
                pass


async def _tell(text: str) -> None:
    click.echo(text, err=True)
    await trio.lowlevel.checkpoint()
