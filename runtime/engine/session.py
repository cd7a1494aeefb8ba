"""A session, as the Python API gives it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import attrs

from turnlog.actors.core.model_input import model_input
from turnlog.actors.session_actor import SessionActor
from turnlog.actors.session_view import SessionView
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import TurnlogError, UsageError
from turnlog.protocol.events import (
    CompactionWanted,
    InputQueued,
    SessionClosed,
    StepFailed,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import JsonText
from turnlog.protocol.notices import Publication
from turnlog.protocol.ops import (
    ApprovalAnswer,
    Compact,
    ExecApproval,
    Interrupt,
    Op,
    Redo,
    Review,
    RunUserShellCommand,
    Shutdown,
    Submission,
    Undo,
    UserInput,
    UserTurn,
)
from turnlog.protocol.ops import prompt as prompt_op
from turnlog.protocol.settings import SessionSettings, SettingsUpdate
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.engine import arguments as doors
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.engine.open_sessions import OpenSessions

WITH_A_TURN: Final = (UserInput, UserTurn, Compact, Review, RunUserShellCommand, Undo, Redo)


@attrs.define(eq=False)
class Session:
    """An open session: prompt it, watch it, branch from it. Several tasks may share it."""

    _sessions: OpenSessions
    _actor: SessionActor
    cut: int | None = None  # of a fork: sequence of the parent's last event that counts

    @property
    def id(self) -> SessionId:
        """The session's id."""
        return self._actor.claim.session

    @property
    def head(self) -> int:
        """Sequence of the last event that is on disk and was published."""
        return self._actor.hub.published

    @property
    def usage(self) -> TokenUsage:
        """Tokens over the whole session; a fork starts with its parent's."""
        return self._view.usage

    @property
    def settings(self) -> SessionSettings:
        """What its next turn runs under, but for what the prompt changes."""
        return self._view.settings

    @property
    def is_running(self) -> bool:
        """Whether a turn is open, as of the step of event `head`.

        At a turn's last event it says whether another turn follows.
        """
        return self._view.is_running

    @property
    def _view(self) -> SessionView:
        view = self._actor.view
        assert view is not None, "a session that is open has begun"
        return view

    @property
    def failure(self) -> TurnlogError | None:
        """What ended the session, where it did not end as it was asked to."""
        return self._actor.failure

    async def submit(self, op: Op, *, op_id: str | None = None) -> Sequence[Recorded]:
        """Send an op; return the step that dealt with it, once it is on disk.

        Args:
            op_id: of your making, if you may send the op again: equal ids are done once.

        Raises:
            UsageError: a value in it is not allowed. The text names it; nothing was sent.
            Rejected: the session refused it, and says why, or is closed.
            Overloaded: too many ops wait; nothing was queued.
            WriteLost: the disk did not take it; send it again with the same id.
        """
        op_id = doors.OPTIONAL_TEXT.take("op_id", op_id) or new_id()
        return await self._actor.tell(Submission(op_id, doors.op("op", op))).answer()

    async def run(
        self, prompt: str | Op, *, update: SettingsUpdate | None = None
    ) -> AsyncGenerator[Recorded]:
        """Send a prompt; yield the events of its turn as they become durable, to the turn's end.

        While a turn runs, a prompt steers it, and its events are yielded from there on.

        Args:
            prompt: a text, or an op that asks for a turn, such as `UserTurn`, `Compact` or `Undo`.
                Any other one is for `submit`.
            update: settings that change with this prompt, and stay. An op has its own.

        Raises:
            UsageError, Rejected, Overloaded, WriteLost: as `submit`.
            TurnlogError: the session's actor failed before the turn's end.
        """
        op = _prompt(prompt, doors.settings_update("update", update))
        async with aclosing(self.watch_op(op)) as publications:
            async for publication in publications:
                if isinstance(publication, Recorded):
                    yield publication

    async def watch_op(self, op: Op) -> AsyncGenerator[Publication]:
        """Send an op that asks for a turn; yield events and notices to its turn's end.

        Raises:
            UsageError, Rejected, Overloaded, WriteLost: as `submit`.
            TurnlogError: the session's actor failed before the turn's end.
        """
        op = doors.op("op", op)
        if not isinstance(op, WITH_A_TURN):
            raise UsageError(
                ErrorCode.ARGUMENT_INVALID,
                f"op: {type(op).__name__} is not allowed, since no turn comes of it; "
                "use `submit` for it",
            )
        subscription = self._actor.hub.subscribe(after=self.head)
        try:
            step = await self.submit(op)
            turn = _turn_of(step)
            op_id = getattr(step[0].event, "op_id", "")
            async for publication in subscription:
                yield publication
                if not isinstance(publication, Recorded):
                    continue
                match publication.event:
                    case TurnOpened(op_id=opened_by) if opened_by == op_id:
                        turn = publication.turn
                    case TurnEnded() | StepFailed() if publication.turn == turn:
                        return
                    case SessionClosed():
                        return
                    case _:
                        pass
            self._actor.raise_failure()
        finally:
            self._actor.hub.unsubscribe(subscription)

    async def watch(self, *, after: int | None = None) -> AsyncGenerator[Publication]:
        """Yield events after `after` and notices, until the session is closed.

        Args:
            after: a sequence; 0 for all there ever was. None: what comes from now on.

        Raises:
            UsageError: it is no sequence.
            TurnlogError: the session was not closed, but failed.
        """
        after = self.head if after is None else doors.count("after", after)
        subscription = self._actor.hub.subscribe(after=after)
        try:
            async for publication in subscription:
                yield publication
            self._actor.raise_failure()
        finally:
            self._actor.hub.unsubscribe(subscription)

    async def interrupt(self) -> None:
        """Stop the turn that runs, if one does. Its end is an event."""
        await self.submit(Interrupt())

    async def answer(self, question: str, decision: ApprovalAnswer) -> None:
        """Answer a question that an `ApprovalAsked` event put.

        Raises:
            UsageError: the decision is none.
            Rejected: it is not open, or no longer.
        """
        question = doors.TEXT.take("question", question)
        await self.submit(ExecApproval(question, doors.ANSWER.take("decision", decision)))

    async def fork(self, *, at: int | None = None) -> "Session":
        """Branch from this session, which is not touched.

        Args:
            at: sequence of the last event that counts; see `Engine.fork`. None: at the head.

        Raises:
            UsageError: it is no sequence.
            NotFound, LogDamaged
        """
        at = None if at is None else doors.sequence("at", at)
        actor, cut = await self._sessions.fork(self.id, at)
        return Session(self._sessions, actor, cut)

    def history(self) -> list[JsonText]:
        """Return what the model would be sent now, were the turn to be asked again.

        It may hold what is still on its way to the disk: events up to `head` are safe.
        """
        return model_input(self._actor.state)

    async def close(self) -> None:
        """Stop the turn, close the session, and wait until all of it is on disk."""
        if not self._actor.hub.closed:
            await self.submit(Shutdown())
            await self._actor.hub.ended()


def _prompt(prompt: object, update: SettingsUpdate | None) -> Op:
    """Return the op of a prompt: a text, or an op already.

    Raises:
        UsageError: it is neither, or an op that has settings of its own.
    """
    if isinstance(prompt, str):
        return prompt_op(doors.TEXT.take("prompt", prompt), update)
    if update is not None:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            "update: it belongs to a text. An op has its own settings: UserTurn(items, update)",
        )
    return doors.op("prompt", prompt)


def _turn_of(step: Sequence[Recorded]) -> int:
    """Return the turn that an op's step put its input into; 0 if that is still to be opened."""
    for recorded in step:
        if isinstance(recorded.event, TurnOpened):
            return recorded.turn
        if isinstance(recorded.event, InputQueued) and recorded.event.until == "request":
            return recorded.turn
        if isinstance(recorded.event, CompactionWanted):
            return recorded.turn
    return 0
