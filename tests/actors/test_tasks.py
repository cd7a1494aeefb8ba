"""Tasks: whatever becomes of the work, one fact closes the effect."""

import pytest

from turnlog.actors.tasks.task import AbsentTask, AnswerTask, Task, TimerTask
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import ClosingFact, EffectClosed, EffectDone, TimerFired
from turnlog.protocol.ids import EffectId

EFFECT = EffectId("3.page.0")


async def done() -> ClosingFact:
    return EffectDone(EFFECT)


async def refused() -> ClosingFact:
    raise Failed(ErrorCode.RECORDED_FAILURE, "there is no such page")


async def test_the_answer_of_a_port_closes_the_effect() -> None:
    assert await AnswerTask(EFFECT, done).run() == EffectDone(EFFECT)


async def test_the_error_of_a_port_closes_the_effect_with_its_code() -> None:
    closed = EffectClosed(EFFECT, "failed", "there is no such page", "recorded_failure")
    assert await AnswerTask(EFFECT, refused).run() == closed


async def test_a_timer_closes_its_effect_when_the_time_is_over(autojump_clock: object) -> None:
    assert await TimerTask(EFFECT, 60_000).run() == TimerFired(EFFECT)


async def test_work_for_which_there_is_no_port_fails_at_once() -> None:
    said = "this engine is not made for that"
    assert await AbsentTask(EFFECT).run() == EffectClosed(EFFECT, "failed", said, "not_supported")


@pytest.mark.parametrize(
    "task", [AnswerTask(EFFECT, done), TimerTask(EFFECT, 60_000), AbsentTask(EFFECT)]
)
def test_a_task_that_was_stopped_closes_its_effect_as_cancelled(task: Task) -> None:
    assert task.cancelled() == EffectClosed(EFFECT, "cancelled")
