"""Reviews: a child session looks at the work, and the conversation gets one note of it."""

import json
from typing import Literal

import pytest
from msgspec import structs

from tests.core.compacting import ANSWER, kinds, told
from tests.core.play import SETTINGS, Play, user
from turnlog.actors.core import texts
from turnlog.actors.core.review import (
    CodeLocation,
    Finding,
    LineRange,
    ReviewOutput,
    read_output,
)
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    ChildAsked,
    ChildEnded,
    ContextAsked,
    EffectClosed,
    EffectLost,
    InputQueued,
    ItemsRecorded,
    OpRefused,
    RecordedItem,
    SessionDecision,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import Compact, Review
from turnlog.protocol.settings import SessionSettings

FOUND = {
    "findings": [
        {
            "title": "Close the file",
            "body": "It leaks.\nAlways.",
            "confidence_score": 0.9,
            "priority": 1,
            "code_location": {
                "absolute_file_path": "/work/a.py",
                "line_range": {"start": 3, "end": 5},
            },
        },
        {"title": "Say why"},
    ],
    "overall_correctness": "patch is incorrect",
    "overall_explanation": " One leak. ",
    "overall_confidence_score": 0.8,
}
OUTPUT = ReviewOutput(
    (
        Finding(
            "Close the file",
            "It leaks.\nAlways.",
            0.9,
            1,
            CodeLocation("/work/a.py", LineRange(3, 5)),
        ),
        Finding("Say why"),
    ),
    "patch is incorrect",
    " One leak. ",
    0.8,
)
NOTE = "One leak.\n- Close the file — /work/a.py:3-5\n  It leaks.\n  Always.\n- Say why"


def note(text: str) -> ItemsRecorded:
    action = texts.USER_ACTION.format(text=text)
    return ItemsRecorded((RecordedItem("review", text_message("user", action)),))


INTERRUPTED = note(texts.REVIEW_INTERRUPTED)


def reviewing(settings: SessionSettings = SETTINGS) -> Play:
    """Return a session after one turn, whose work is being reviewed."""
    play = Play.started(settings)
    play.talk("go", "done")
    play.op(Review("look at it"))
    play.load()
    return play


def end(
    play: Play,
    output: str | None,
    status: Literal["completed", "interrupted", "failed"] = "completed",
    error: ErrorInfo | None = None,
) -> list[SessionDecision]:
    asked = play.the(ChildAsked)
    return play.send(
        ChildEnded(asked.effect, asked.child, status, 9, "00" * 16, output, None, error)
    )


def test_a_review_is_a_turn_whose_child_has_settings_of_its_own() -> None:
    own = structs.replace(
        SETTINGS,
        review_model="gpt-review",
        reasoning_effort="high",
        developer_instructions="be kind",
        user_instructions="be quick",
        approval_policy="never",
    )
    play = Play.started(own)
    opened, _ = play.op(Review("look at it"), "op-r")
    assert isinstance(opened, TurnOpened)
    assert (opened.op_id, opened.kind) == ("op-r", "review")
    (asked,) = play.load()
    child = structs.replace(
        own,
        model="gpt-review",
        reasoning_effort="low",
        reasoning_summary="detailed",
        base_instructions=texts.REVIEW,
        developer_instructions=None,
        user_instructions=None,
        project_docs=False,
        depth=1,
    )
    effect = play.the(ChildAsked)
    assert asked == ChildAsked(
        effect.effect, effect.child, "review", "review", 1, "look at it", child
    )


def test_without_a_model_for_reviews_it_is_the_session_s_own() -> None:
    assert reviewing().the(ChildAsked).settings.model == SETTINGS.model


@pytest.mark.parametrize(
    "text",
    [json.dumps(FOUND), f"Here it is:\n```json\n{json.dumps(FOUND, indent=2)}\n```\nBye."],
)
def test_findings_are_read_from_json_and_from_json_within_a_text(text: str) -> None:
    assert read_output(text) == OUTPUT
    recorded, ended = end(reviewing(), text)
    assert recorded == note(texts.REVIEW_DONE.format(results=NOTE))
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.last_agent_message) == ("completed", text)


@pytest.mark.parametrize("text", ["It is fine.", "} so {", '{"findings": 7}', "{\ud800}"])
def test_any_other_text_is_the_explanation(text: str) -> None:
    assert read_output(text) == ReviewOutput(overall_explanation=text)


def test_a_plain_text_is_what_the_conversation_is_told() -> None:
    recorded, _ = end(reviewing(), "It is fine.")
    assert recorded == note(texts.REVIEW_DONE.format(results="It is fine."))


def test_nothing_of_a_review_is_in_the_conversation_but_its_note() -> None:
    play = reviewing()
    before = play.state.history.texts()
    end(play, json.dumps(FOUND))
    assert len(play.state.history.parts) == len(before) + 1
    assert play.state.history.texts()[:-1] == before
    assert not any("look at it" in part for part in play.state.history.texts())
    play.ask("fix it")
    assert play.state.history.texts()[-1] == user("fix it")


def test_an_interrupted_review_exits_then_notes_it_then_is_aborted() -> None:
    play = reviewing()
    assert kinds(play.interrupt()) == ["TurnStopping"]
    recorded, ended = end(play, None, "interrupted")
    assert recorded == INTERRUPTED
    assert isinstance(ended, TurnEnded)
    assert ended.status == "interrupted"
    text = told(play)[-1]
    assert "<action>review</action>" in text
    assert "interrupted" in text


def test_a_review_whose_child_was_cancelled_is_interrupted() -> None:
    play = reviewing()
    play.interrupt()
    effect = play.the(ChildAsked).effect
    assert kinds(play.send(EffectClosed(effect, "cancelled"))) == ["ItemsRecorded", "TurnEnded"]
    assert play.state.agents == {}


def test_a_review_that_is_interrupted_before_it_began_is_noted() -> None:
    play = Play.started()
    play.op(Review("look at it"))
    play.interrupt()
    decided = play.send(EffectClosed(play.the(ContextAsked).effect, "cancelled"))
    assert decided[0] == INTERRUPTED


def test_findings_that_come_while_the_turn_stops_are_not_thrown_away() -> None:
    play = reviewing()
    play.interrupt()
    recorded, _ = end(play, "It is fine.")
    assert recorded == note(texts.REVIEW_DONE.format(results="It is fine."))


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_review_that_came_to_nothing_is_no_completed_turn(
    status: Literal["failed", "interrupted"],
) -> None:
    error = ErrorInfo("server_error", "503") if status == "failed" else None
    decided = end(reviewing(), None, status, error)
    assert kinds(decided) == ["TurnStopping", "ItemsRecorded", "TurnEnded"]
    assert decided[1] == INTERRUPTED
    ended = decided[-1]
    assert isinstance(ended, TurnEnded)
    assert (ended.status, ended.error) == (status, error)


def test_a_review_without_a_word_is_noted_as_one_that_was_interrupted() -> None:
    assert end(reviewing(), None)[0] == INTERRUPTED


def test_a_review_that_cannot_be_run_fails_the_turn() -> None:
    play = reviewing()
    decided = play.send(EffectClosed(play.the(ChildAsked).effect, "crashed", "boom"))
    assert kinds(decided) == ["TurnStopping", "ItemsRecorded", "TurnEnded"]


def test_input_during_a_review_is_the_next_turn() -> None:
    play = reviewing()
    assert play.say("and now") == [InputQueued("op-3", "turn")]
    assert kinds(play.op(Compact(), "op-c")) == ["InputQueued"]
    decided = end(play, "fine")
    assert kinds(decided) == ["ItemsRecorded", "TurnEnded", "TurnOpened", "ContextAsked"]
    play.load()
    assert told(play)[-1] == "and now"


def test_a_review_of_nothing_is_refused() -> None:
    (refused,) = Play.started().op(Review("  "), "op-r")
    assert refused == OpRefused("op-r", "empty_input", "there is nothing in this input")


def test_an_engine_that_takes_over_asks_for_the_same_review() -> None:
    play = reviewing()
    first = play.the(ChildAsked)
    lost, again = play.open()
    assert lost == EffectLost(first.effect)
    assert again == structs.replace(first, effect=play.the(ChildAsked).effect)
    assert kinds(end(play, "fine")) == ["ItemsRecorded", "TurnEnded"]


def test_a_fork_in_the_middle_of_a_review_holds_the_note_of_an_interrupted_one() -> None:
    play = reviewing()
    decided = play.fork()
    assert kinds(decided) == ["EffectLost", "TurnStopping", "ItemsRecorded", "TurnEnded"]
    assert INTERRUPTED in decided


def test_a_note_gives_way_to_a_summary_as_anything_the_user_did_not_say() -> None:
    play = reviewing()
    end(play, ANSWER * 3)
    play.op(Compact())
    play.load()
    play.summarize("in short")
    assert told(play) == ["go", texts.SUMMARY_BEGINS + "in short"]
