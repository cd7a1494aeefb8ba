"""The user of a branch: gives the inputs, interrupts and answers of the original's user."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, suppress

import attrs
import trio
from msgspec import UNSET, Struct, structs

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Rejected, WriteLost
from turnlog.protocol.events import (
    ApprovalAsked,
    OpReceived,
    RetryScheduled,
    SessionForked,
    SessionOpened,
    StepFailed,
    TimerFired,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.ops import (
    ApprovalAnswer,
    ExecApproval,
    Interrupt,
    Op,
    OverrideTurnContext,
    PatchApproval,
    Shutdown,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import SettingsUpdate
from turnlog.replay.rerun.recorded_order import RecordedOrder, answer_key, op_key
from turnlog.replay.rerun.recording import RecordedQuestion, question_key
from turnlog.runtime.engine.session import Session


class Input(Struct, frozen=True):
    """An op of the original's user, and its place."""

    at: int
    op: Op

    @property
    def speaks(self) -> bool:
        """Whether it is a prompt to the model."""
        return isinstance(self.op, UserInput | UserTurn)


def inputs_of(records: Sequence[Recorded], *, after: int, interrupts: bool) -> list[Input]:
    """Return the ops of a session that are submitted again, in order.

    Answers to questions are not among it, nor is closing the session.

    Args:
        interrupts: whether a turn is to be stopped where it was: by its user, by the end of its
            engine, or by the end of the log.
    """
    found: list[Input] = []
    facts: dict[int, object] = {}
    is_open = False
    for record in records:
        event = record.event
        is_open = _is_open(record, is_open)
        if record.sequence <= after:
            continue
        match event:
            case OpReceived(op=Shutdown() | ExecApproval() | PatchApproval()):
                facts[record.sequence] = event
            case OpReceived(op=Interrupt()) if not interrupts:
                pass
            case OpReceived(op=op):
                found.append(Input(record.sequence, op))
            case SessionOpened() | SessionForked():
                facts[record.sequence] = event
            case TurnStopping(status="interrupted") if interrupts:
                match facts.get(record.cause):
                    case OpReceived(op=Shutdown()) | SessionOpened() | SessionForked():
                        found.append(Input(record.cause, Interrupt()))
                    case _:
                        pass
            case _:
                pass
    if is_open and interrupts:
        found.append(Input(records[-1].sequence + 1, Interrupt()))
    return found


def _is_open(record: Recorded, was: bool) -> bool:
    match record.event:
        case TurnOpened():
            return True
        case TurnEnded() | StepFailed():
            return False
        case _:
            return was


def without(op: Op, names: Iterable[str]) -> Op:
    """Return `op` without its changes of the settings with these names."""
    if not isinstance(op, UserTurn | OverrideTurnContext):
        return op
    fields = {name: UNSET for name in names if name in SettingsUpdate.__struct_fields__}
    return structs.replace(op, update=structs.replace(op.update, **fields))


def waits_for_user(records: Iterable[Recorded], *, after: int) -> bool:
    """Say whether an op came during the wait for a retry: then that wait has to be repeated."""
    waiting = 0
    for record in records:
        if record.sequence <= after:
            continue
        match record.event:
            case RetryScheduled():
                waiting += 1
            case TimerFired() | TurnEnded() | StepFailed():
                waiting = 0
            case OpReceived() if waiting:
                return True
            case _:
                pass
    return False


@attrs.define
class Answers:
    """The recorded answers, by what was asked. The last one holds for all further questions."""

    _left: dict[str, deque[RecordedQuestion]] = attrs.field(factory=lambda: defaultdict(deque))

    @classmethod
    def of(
        cls, earlier: Iterable[RecordedQuestion], later: Iterable[RecordedQuestion]
    ) -> "Answers":
        """Return the answers of `later`; for other questions, those of `earlier`."""
        answers = cls()
        for question in later:
            answers._left[question.key].append(question)
        known = set(answers._left)
        for question in earlier:
            if question.key not in known:
                answers._left[question.key].append(question)
        return answers

    def next(self, key: str) -> RecordedQuestion | None:
        """Return how the next question with this key was answered; None: it was never asked."""
        left = self._left.get(key)
        if not left:
            return None
        return left.popleft() if len(left) > 1 else left[0]


@attrs.define(eq=False)
class RecordedUser:
    """The user of a branch.

    Args:
        one_by_one: whether each input waits until the session is idle.
        has_left: whether the branch differs from the recording: then nothing more is submitted.
    """

    session: Session
    order: RecordedOrder
    answers: Answers
    one_by_one: bool
    has_left: Callable[[], bool]
    declined: list[str] = attrs.field(factory=list[str], init=False)  # without a known answer
    _moved: trio.Event = attrs.field(factory=trio.Event, init=False)
    _seen: int = attrs.field(default=0, init=False)
    _needed: int = attrs.field(default=0, init=False)
    _pending: int = attrs.field(default=0, init=False)  # inputs on their way
    _open: bool = attrs.field(default=False, init=False)

    async def play(self, inputs: Sequence[Input]) -> None:
        """Submit `inputs`, each in its place, and wait until nothing is running."""
        if not self.one_by_one:
            for given in inputs:
                self.order.expect(op_key(given.at), given.at)
        try:
            await self._play(inputs)
        finally:
            self.order.give_up()  # nobody may be held back once this no longer watches

    async def _play(self, inputs: Sequence[Input]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery, self.session.head)
            for given in inputs:
                await self.order.before(given.at, sends=True)
                if self.has_left():
                    break
                self._pending += 1
                nursery.start_soon(self._submit, given)
                if self.one_by_one:
                    await self._idle()
            await self._idle()
            nursery.cancel_scope.cancel()

    async def _submit(self, given: Input) -> None:
        key = op_key(given.at)
        self.order.sent(key)
        with suppress(Rejected):  # as it was then; the refusal is in the log
            step = await self.session.submit(given.op)
            self._needed = max(self._needed, step[-1].sequence)
        self.order.done(key)
        self._pending -= 1
        self._move()

    async def _idle(self) -> None:
        while self._is_busy():
            await self._moved.wait()

    def _is_busy(self) -> bool:
        has_more = self._pending > 0 or self._seen < self._needed
        return has_more or self._open or self.session.is_running

    async def _watch(self, nursery: trio.Nursery, after: int) -> None:
        async with aclosing(self.session.watch(after=after)) as publications:
            async for publication in publications:
                if isinstance(publication, Recorded):
                    self._see(publication)
                    if isinstance(publication.event, ApprovalAsked):
                        nursery.start_soon(self._answer, publication.event)
        raise self.session.failure or WriteLost(f"session {self.session.id} ended too early.")

    def _see(self, record: Recorded) -> None:
        self._seen = record.sequence
        self._open = _is_open(record, self._open)
        self.order.see(record)
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _answer(self, asked: ApprovalAsked) -> None:
        known = self.answers.next(question_key(asked))
        answer: ApprovalAnswer | None = known.answer if known else "denied"
        if known is None:
            self.declined.append(asked.question)
        elif known.answered_at is not None:
            await self.order.before(known.answered_at, sends=True)
            self.order.sent(answer_key(known.answered_at))
        if answer is not None:
            with suppress(Rejected):  # the turn was stopped meanwhile
                await self.session.answer(asked.question, answer)
        if known is not None and known.answered_at is not None:
            self.order.done(answer_key(known.answered_at))
