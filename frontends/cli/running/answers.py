"""Answering a question in the terminal that asked it."""

import os
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import attrs
import trio

from turnlog.actors.ports import EventLog
from turnlog.frontends.cli.output.question_text import question_text
from turnlog.frontends.cli.output.streams import STDERR, STDIN
from turnlog.frontends.sessions.questions import find_question
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer, ExecApproval, Submission
from turnlog.runtime.engine.new_id import new_id

PROMPT: Final = "Allow it? [y]es, [s]ame for this session, [n]o, [a]bort the turn: "
_ANSWERS: Final[dict[str, ApprovalAnswer]] = {
    "y": "approved",
    "yes": "approved",
    "s": "approved_for_session",
    "same": "approved_for_session",
    "n": "denied",
    "no": "denied",
    "a": "abort",
    "abort": "abort",
}
_PERIOD: Final = 0.2  # seconds between two looks at the question, and at who owns the terminal


def person_is_here() -> bool:
    """Say whether somebody can read stderr and type into stdin."""
    return os.isatty(STDIN) and os.isatty(STDERR) and _is_ours()


@attrs.define(eq=False)
class TerminalAnswers:
    """Asks one question after the other, and leaves each answer to the session."""

    log: EventLog
    say: Callable[[str], Awaitable[None]]  # shows lines
    prompt: Callable[[str], Awaitable[None]]  # shows what waits for an answer; "": nothing does
    ended: bool = False  # nobody types here any more
    _one: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def ask(
        self,
        session: SessionId,
        question: str,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Ask until it is answered, here or elsewhere, or can no longer be answered."""
        task_status.started()  # it has its place among the others: the lock is a queue
        async with self._one:
            asked = await find_question(self.log, session, question)
            if asked is None:
                return
            of = f" (of agent {session})" if asked.spawned_by is not None else ""
            await self.say(f"Question{of} {question_text(asked)}")
            answer = None if self.ended else await self._answer(session, question)
            if answer is not None:
                op = Submission(new_id(), ExecApproval(question, answer), "exec")
                await self.log.leave(session, op)
            elif self.ended:
                await self.say(f"Answer from another terminal: turnlog approve {question}")
                return
            await self._decided(session, question)

    async def _answer(self, session: SessionId, question: str) -> ApprovalAnswer | None:
        """Return what was typed; None if the question is closed, or nobody types any more."""
        found: list[ApprovalAnswer] = []
        with suppress(OSError):  # an answer to an earlier question is none to this one
            termios.tcflush(STDIN, termios.TCIFLUSH)
        await self.prompt(PROMPT)

        async def read() -> None:
            while not found and (typed := await _line()):
                found.extend(_answers(typed))
                if not found:
                    await self.prompt(PROMPT)
            self.ended = not found
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await self._decided(session, question)
            nursery.cancel_scope.cancel()
        await self.prompt("")
        return found[0] if found else None

    async def _decided(self, session: SessionId, question: str) -> None:
        """Wait until a question is open no longer, whoever answered it."""
        while True:
            if await find_question(self.log, session, question) is None:
                return
            await trio.sleep(_PERIOD)


def _answers(typed: str) -> list[ApprovalAnswer]:
    answer = _ANSWERS.get(typed.strip().lower())
    return [answer] if answer is not None else []


async def _line() -> str:
    """Return a line that was typed; nothing at the end of the input.

    A terminal stops a process that reads from the background, so it is read in the foreground.
    """
    while True:
        await trio.lowlevel.wait_readable(STDIN)
        if _is_ours():
            try:
                return os.read(STDIN, 1 << 12).decode(errors="replace")
            except OSError:  # the terminal is gone
                return ""
        await trio.sleep(_PERIOD)


def _is_ours() -> bool:
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:  # it controls another session
        return False
