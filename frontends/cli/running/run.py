"""One run of `turnlog exec`: opens a session, gives it the prompt, shows it until it is idle."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Literal

import attrs
import trio

from turnlog.actors.ports import EventLog
from turnlog.frontends.cli.errors import FAILED, INTERRUPTED, UNCONFINED
from turnlog.frontends.cli.output.question_text import question_note
from turnlog.frontends.cli.running.answers import TerminalAnswers
from turnlog.frontends.cli.running.call_notes import CallNotes
from turnlog.frontends.cli.running.json_lines import ExecStream
from turnlog.frontends.cli.running.reporters import Reporter
from turnlog.frontends.cli.signals import SIGNALS, obey
from turnlog.frontends.sessions.address import find_session, is_listed
from turnlog.frontends.sessions.pause_notice import tell_pauses
from turnlog.frontends.sessions.questions import watch_questions
from turnlog.frontends.sessions.refusals import Refusals
from turnlog.frontends.sessions.settings import ChosenSettings, changes_nothing
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import NotFound, TurnlogError, UsageError, WriteLost
from turnlog.protocol.events import (
    ApprovalAsked,
    ChildAsked,
    OpReceived,
    SessionClosed,
    SessionForked,
    SessionOpened,
    StepFailed,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.exec_lines import Error, TurnFailed, TurnStarted
from turnlog.protocol.ids import SessionId
from turnlog.protocol.notices import Notice, ToolOutputDelta
from turnlog.protocol.ops import ExecApproval, OverrideTurnContext, PatchApproval, UserTurn
from turnlog.protocol.settings import SessionSettings, SettingsUpdate
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.assembly import Assembly, open_assembly
from turnlog.runtime.config.schema import Config
from turnlog.runtime.engine.session import Session

_INTERRUPTED: Final = ErrorInfo(ErrorCode.INTERRUPTED, "the turn was interrupted")
_INTERRUPTING: Final = "Interrupting the turn. Ctrl-C again leaves at once."
_PARKED: Final = (
    "nobody answered in time, so session {session} waits, closed. `turnlog approvals` lists its "
    "questions; once they are answered, `turnlog exec resume {session}` continues it."
)
_MOVED: Final = (
    "Note: this session came from elsewhere. It continues under this machine's settings, in "
    "{settings.cwd}: sandbox {settings.sandbox.mode}, approvals {settings.approval_policy}, "
    "provider {settings.model_provider}. What it had pending is asked about, or refused."
)
_PAGE: Final = 256  # events
_MANY: Final = 10_000  # sessions that `--last` looks through


@attrs.frozen
class Order:
    """What a run is to do."""

    action: Literal["start", "resume", "fork"]
    config: Config
    cwd: str  # of a new session; and where `--last` looks
    session: str | None = None  # as `find_session` takes it; None: start fresh_id, or the last one
    at: int | None = None  # of a fork: the last event that counts
    prompt: UserTurn | None = None  # None: continue the turn that was cut off
    # What changes in a session that exists. The prompt has it, too.
    update: SettingsUpdate = attrs.field(factory=SettingsUpdate)
    chosen: ChosenSettings | None = None  # of a session that exists: what the command line says
    ephemeral: bool = False
    originator: str = "turnlog_exec"

    def warnings(self, session: SessionSettings) -> list[str]:
        """Return what the user should know before anything runs."""
        kept = None if self.chosen is None else self.chosen.kept_provider(self.config, session)
        return [*self.config.warnings, *([kept] if kept else [])]


@attrs.define(eq=False)
class Run:
    """The run of one order, and how it ends."""

    order: Order
    reporter: Reporter
    session: SessionId | None = None  # once it is known
    last_message: str | None = None  # of a turn that was completed
    error: ErrorInfo = _INTERRUPTED  # why the turn was not completed
    refusals: Refusals = attrs.field(factory=Refusals, init=False)
    _call_notes: CallNotes = attrs.field(factory=CallNotes, init=False)
    asks_here: bool = False  # somebody sits at the terminal and can answer
    _answers: TerminalAnswers | None = attrs.field(default=None, init=False)
    _failed: bool = False
    _told: bool = False  # a line of the protocol has said why
    _signal: int | None = None  # the first one that asked us to stop
    _prompted: Session | None = None  # has something to be interrupted
    _work: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _warnings: list[str] = attrs.field(factory=list[str])

    async def run(self) -> int:
        """Return the exit code: 0, 1 for a turn that failed, 128 + n for signal n.

        3 for one that was completed, but none of its commands could be confined.

        Raises:
            TurnlogError: what the order asks for cannot be done. May be in an exception group.
            NobodyReads, UsageError: stdout takes nothing. The turn was interrupted.
        """
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(obey, signals, partial(self._stop, nursery))
                with self._work:
                    await self._execute(nursery)
                nursery.cancel_scope.cancel()
        if self._signal is not None:
            return INTERRUPTED if self._signal == signal.SIGINT else 128 + self._signal
        if self._failed:
            return FAILED
        return UNCONFINED if self.refusals.are_all else 0

    # --- signals -----------------------------------------------------------------------------

    def _stop(self, nursery: trio.Nursery, number: int) -> None:
        """Interrupt the turn, or cancel the work: leaving `open_engine` stops the turn, too."""
        self._signal = number
        if number == signal.SIGINT and self._prompted is not None:
            nursery.start_soon(self._interrupt, self._prompted)
            nursery.start_soon(self.reporter.note, _INTERRUPTING)
        else:
            self._work.cancel()

    async def _interrupt(self, session: Session) -> None:
        try:
            await session.interrupt()
        except TurnlogError:  # it is ending already
            self._work.cancel()

    # --- the work ----------------------------------------------------------------------------

    async def _execute(self, nursery: trio.Nursery) -> None:
        order = self.order
        async with open_assembly(
            config=order.config,
            ephemeral=order.ephemeral,
            originator=order.originator,
            warn=self._warnings.append,
            shows_questions=True,
        ) as assembly:
            engine = assembly.engine
            nursery.start_soon(tell_pauses, assembly.log, self.reporter.note)
            if self.asks_here:
                reporter = self.reporter
                self._answers = TerminalAnswers(assembly.log, reporter.note, reporter.prompt)
            match order.action:
                case "start":
                    session = await engine.start(
                        cwd=order.cwd,
                        originator="exec",
                        on_recovery=order.config.on_recovery,
                    )
                    await self._follow(assembly, session, ExecStream(session.usage), after=0)
                case "fork":
                    await self._fork(assembly)
                case "resume":
                    await self._resume(assembly)

    async def _fork(self, assembly: Assembly) -> None:
        order = self.order
        assert order.session is not None  # the command line asks for it
        parent = await find_session(assembly.log, order.session)
        session = await assembly.engine.fork(parent, at=order.at)
        stream = ExecStream(session.usage)
        if order.prompt is not None:
            await self._follow(assembly, session, stream, after=session.cut or 0)
            return
        await self._change_settings(session)
        self.session = session.id
        await self.reporter.begin(session.id, order.update.apply(session.settings))
        self._warnings[:0] = order.warnings(session.settings)
        await self._warn(stream)

    async def _change_settings(self, session: Session) -> None:
        """Store what the command line names, where no prompt carries it."""
        if not changes_nothing(self.order.update):
            await session.submit(OverrideTurnContext(self.order.update))

    async def _resume(self, assembly: Assembly) -> None:
        order, log = self.order, assembly.log
        wanted = await self._wanted(log)
        head = (await log.head(wanted)).sequence
        cut_off = await _open_turn(log, wanted, head)
        if order.prompt is None and not cut_off:
            raise UsageError(
                ErrorCode.NOTHING_TO_CONTINUE,
                f"no turn of session {wanted} was cut off, so there is nothing to continue. "
                "Give a prompt, as an argument or on stdin.",
            )
        on_recovery = order.config.on_recovery if order.prompt else "continue"
        session = await assembly.engine.resume(wanted, on_recovery=on_recovery)
        usage, continues = session.usage, bool(cut_off) and session.is_running
        stream = ExecStream(TokenUsage())
        stream.catch_up(cut_off)
        stream.usage = usage
        await self._follow(assembly, session, stream, after=head, continues=continues)

    async def _wanted(self, log: EventLog) -> SessionId:
        if self.order.session is not None:
            return await find_session(log, self.order.session)
        for summary in await log.sessions(limit=_MANY):
            if summary.cwd == self.order.cwd and is_listed(summary):
                return summary.session
        raise NotFound(
            ErrorCode.SESSION_NOT_FOUND,
            f"no session has worked in {self.order.cwd}. `turnlog sessions` lists them all.",
        )

    async def _follow(
        self,
        assembly: Assembly,
        session: Session,
        stream: ExecStream,
        *,
        after: int,
        continues: bool = False,
    ) -> None:
        """Give the prompt, and show the events after `after`, until nothing runs any more.

        Nothing is shown before the prompt is on disk.
        """
        update = self.order.update
        await assembly.foresight.look(update.apply(session.settings))
        if self.order.prompt is not None:
            await session.submit(self.order.prompt)
        else:
            await self._change_settings(session)
        self._prompted = session
        self.session = session.id
        await self.reporter.begin(session.id, update.apply(session.settings))
        self._warnings[:0] = self.order.warnings(session.settings)
        await self._warn(stream)
        if continues:
            await self.reporter.line(TurnStarted())
        async with trio.open_nursery() as nursery:
            await self._watch(assembly.log, nursery, session, stream, after)
            nursery.cancel_scope.cancel()
        self._failed = self._failed or stream.failed
        if not self._failed:
            self.last_message = stream.last_message
            await self.reporter.final(stream.last_message)
        elif not self._told and self._signal is None:
            await self.reporter.line(Error(self.error.message, self.error.code), ends_turn=True)

    async def _watch(
        self,
        log: EventLog,
        nursery: trio.Nursery,
        session: Session,
        stream: ExecStream,
        after: int,
    ) -> None:
        """Show the events after `after`, until nothing runs; of agents, their questions."""
        opening: set[int] = set()

        async def ask(session: SessionId, question: str) -> None:
            if self._answers is not None:
                await nursery.start(self._answers.ask, session, question)
            elif note := await question_note(log, session, question):
                await self.reporter.note(note)

        async with aclosing(session.watch(after=after)) as publications:
            async for publication in publications:
                if not isinstance(publication, Recorded):
                    await self._show_notice(publication, stream)
                    continue
                if isinstance(publication.event, SessionOpened | SessionForked):
                    opening.add(publication.sequence)
                if isinstance(publication.event, ChildAsked):
                    nursery.start_soon(watch_questions, log, publication, ask)
                await self._tell_answers(session.id, publication, ask)
                await self._warn(stream)
                await self._show(publication, stream, opening)
                if self._is_over(publication, session):
                    return
        raise session.failure or WriteLost(
            f"session {session.id} ended before its turn did. Resume it."
        )

    async def _show_notice(self, notice: Notice, stream: ExecStream) -> None:
        match notice:
            case ToolOutputDelta(effect=effect, delta=text) if item := stream.item_of(effect):
                await self.reporter.output(item, text)
            case _:
                pass

    async def _tell_answers(
        self,
        session: SessionId,
        recorded: Recorded,
        ask: Callable[[SessionId, str], Awaitable[None]],
    ) -> None:
        """Put a question, and tell of its answer, which may come from another terminal."""
        match recorded.event:
            case SessionOpened(adopted=SessionSettings() as settings):
                await self.reporter.note(_MOVED.format(settings=settings))
            case ApprovalAsked(question=question):
                await ask(session, question)
            case OpReceived(op=ExecApproval() | PatchApproval() as op):
                await self.reporter.note(f"Answered: {op.decision}.")
            case _:
                pass

    async def _warn(self, stream: ExecStream) -> None:
        while self._warnings:
            await self.reporter.line(stream.warning(self._warnings.pop(0)))

    async def _show(self, recorded: Recorded, stream: ExecStream, opening: set[int]) -> None:
        event = recorded.event
        self.refusals.take(recorded)
        if isinstance(event, TurnEnded) and recorded.cause in opening and self.order.prompt:
            # The turn that was cut off ends here, and no client of this run has seen it begin.
            for _ in stream.take(recorded):
                pass
            stream.failed = False
            return
        match event:
            case TurnEnded(error=error) if error is not None:
                self.error = error
            case StepFailed(message=message):
                self.error = ErrorInfo(ErrorCode.STEP_FAILED, message)
            case _:
                pass
        ends = isinstance(event, TurnEnded | StepFailed)
        for line in stream.take(recorded):
            await self.reporter.line(line, ends_turn=ends)
            self._told = self._told or isinstance(line, TurnFailed)
        if note := self._call_notes.take(recorded):
            await self.reporter.tell_person(note)

    def _is_over(self, recorded: Recorded, session: Session) -> bool:
        match recorded.event:
            case TurnEnded() | StepFailed():
                return self._signal is not None or not session.is_running
            case SessionClosed(reason="parked"):
                self._failed = True
                self.error = ErrorInfo(ErrorCode.PARKED, _PARKED.format(session=session.id))
                return True
            case SessionClosed():  # asked for from outside
                return True
            case _:
                return False


async def _open_turn(log: EventLog, session: SessionId, head: int) -> Sequence[Recorded]:
    """Return the events of the turn that was cut off; none if the session is idle."""
    found: list[Recorded] = []
    while head:
        page = await log.read(session, after=max(0, head - _PAGE), until=head)
        last = page[-1]
        if not found and (last.turn == 0 or isinstance(last.event, TurnEnded | StepFailed)):
            return []
        turn = found[0].turn if found else last.turn
        found[:0] = [recorded for recorded in page if recorded.turn == turn]
        if any(isinstance(recorded.event, TurnOpened) for recorded in found):
            break
        head = page[0].sequence - 1
    return found
