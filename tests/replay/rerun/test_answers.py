"""Recorded answers of ports that are asked once for each effect."""

import pytest

from turnlog.protocol.errors import Failed
from turnlog.protocol.events import ChildTold, ClosingFact, EffectClosed, EffectDone, EffectLost
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.replay.rerun.ports.answers import RecordedAnswers
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import Answer, Recording
from turnlog.replay.rerun.request_matching import UnrecordedRequest

CHILD = SessionId("01900000-0000-7000-8000-000000000001")


def told(text: str, effect: str = "9.tell.0") -> ChildTold:
    return ChildTold(EffectId(effect), CHILD, "op-1", text)


def answers(*recorded: tuple[str, ClosingFact | EffectLost | None]) -> RecordedAnswers[ChildTold]:
    recording = Recording()
    for at, (text, ending) in enumerate(recorded):
        answer = Answer(at, told(text, f"{at}.tell.0"))
        answer.ending = ending
        recording.answers.append(answer)
    return RecordedAnswers(recording, Playback(), ChildTold, lambda asked: asked.text)


async def test_a_recorded_answer_is_given_to_the_effect_that_asks_now() -> None:
    recorded = answers(("hurry", EffectDone(EffectId("0.tell.0"))))
    assert await recorded.to(told("hurry"), EffectDone) == EffectDone(EffectId("9.tell.0"))


async def test_each_recorded_answer_is_given_once() -> None:
    recorded = answers(("hurry", EffectDone(EffectId("0.tell.0"))))
    await recorded.to(told("hurry"), EffectDone)
    with pytest.raises(UnrecordedRequest) as error:
        await recorded.to(told("hurry"), EffectDone)
    assert str(error.value).startswith(
        "the recording holds no such message to a child session: hurry"
    )


async def test_a_request_fails_as_the_recorded_one_did() -> None:
    closed = EffectClosed(EffectId("0.tell.0"), "failed", "the child has ended", "not_running")
    recorded = answers(("hurry", closed))
    with pytest.raises(Failed) as error:
        await recorded.to(told("hurry"), EffectDone)
    assert (str(error.value), error.value.code) == ("the child has ended", "not_running")


async def test_a_request_whose_engine_died_gets_the_answer_of_the_next_engine() -> None:
    recorded = answers(
        ("hurry", EffectLost(EffectId("0.tell.0"))), ("hurry", EffectDone(EffectId("1.tell.0")))
    )
    assert await recorded.to(told("hurry"), EffectDone) == EffectDone(EffectId("9.tell.0"))
