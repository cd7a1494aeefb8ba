"""The trio shell of one question. The decision that asks it is what its watchers are shown."""

import attrs
import trio

from turnlog.actors.jobs import QuestionJob
from turnlog.protocol.events import EffectClosed, SessionFact


@attrs.define(eq=False)
class ApprovalActor:
    """Times a question. An answer is an op: the session closes the question, and ends this."""

    job: QuestionJob
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        """Wait until nobody has answered in time; return the fact that says so."""
        if self.job.timeout_ms is None:
            await trio.sleep_forever()
        await trio.sleep(self.job.timeout_ms / 1000)
        return EffectClosed(self.job.effect, "failed", "nobody answered in time", "unanswered")

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")
