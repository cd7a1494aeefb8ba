"""The task of one question. Its watchers are shown the decision that asks it."""

from collections.abc import Callable
from typing import Final, NoReturn

import attrs
import trio

from turnlog.actors.tasks.orders import QuestionOrder
from turnlog.actors.tasks.task import Task
from turnlog.protocol.events import ClosingFact, EffectClosed

PATIENCE_S: Final = 5.0  # before somebody is reminded of a question that waits for ever
_WAITING: Final = (
    "question {question} of session {session} waits for an answer: may {tool} do what the event "
    "`approval_asked` shows? Until then its turn waits. Answer it with `await "
    "session.answer({question!r}, 'approved')`, or 'denied', or from a terminal with `turnlog "
    "approve {question}`. With approval_policy 'never' nothing is asked; approval_timeout_ms "
    "limits the wait."
)


@attrs.define(eq=False)
class QuestionTask(Task):
    """Times a question. An answer is an op: the session closes the question, and ends this."""

    order: QuestionOrder
    remind: Callable[[str], None] | None = None

    async def run(self) -> ClosingFact:
        """Wait until nobody has answered in time; return the fact that says so."""
        if self.order.timeout_ms is None:
            await self._wait_for_ever()
        await trio.sleep(self.order.timeout_ms / 1000)
        return EffectClosed(self.effect, "failed", "nobody answered in time", "unanswered")

    async def _wait_for_ever(self) -> NoReturn:
        if self.remind is not None:
            await trio.sleep(PATIENCE_S)
            order = self.order
            self.remind(
                _WAITING.format(question=order.question, session=order.session, tool=order.tool)
            )
        await trio.sleep_forever()
