"""The trio shell of one question. The decision that asks it is what its watchers are shown."""

from collections.abc import Callable
from typing import Final, NoReturn

import attrs
import trio

from turnlog.actors.tasks.jobs import QuestionJob
from turnlog.protocol.events import EffectClosed, SessionFact

PATIENCE_S: Final = 5.0  # before somebody is reminded of a question that waits for ever
_WAITING: Final = (
    "question {question} of session {session} waits for an answer: may {tool} do what the event "
    "`approval_asked` shows? Until then its turn stands still. Answer it with `await "
    "session.answer({question!r}, 'approved')`, or 'denied', or from a terminal with `turnlog "
    "approve {question}`. With approval_policy 'never' nothing is asked; approval_timeout_ms "
    "limits the wait."
)


@attrs.define(eq=False)
class ApprovalActor:
    """Times a question. An answer is an op: the session closes the question, and ends this."""

    job: QuestionJob
    remind: Callable[[str], None] | None = None
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        """Wait until nobody has answered in time; return the fact that says so."""
        if self.job.timeout_ms is None:
            await self._wait_for_ever()
        await trio.sleep(self.job.timeout_ms / 1000)
        return EffectClosed(self.job.effect, "failed", "nobody answered in time", "unanswered")

    async def _wait_for_ever(self) -> NoReturn:
        if self.remind is not None:
            await trio.sleep(PATIENCE_S)
            job = self.job
            self.remind(_WAITING.format(question=job.question, session=job.session, tool=job.tool))
        await trio.sleep_forever()

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")
