"""When a conversation gives way to a summary of it, and what stays."""

import pytest

from tests.core.compacting import (
    ANSWER,
    PROMPT,
    asked,
    compacted,
    compacting,
    grown,
    kinds,
    limited,
    requests,
    told,
)
from tests.core.play import SETTINGS, Play, function_call, said, user
from turnlog.actors.core import texts
from turnlog.actors.core.state import Turn
from turnlog.protocol.calls import ContextFragment, ModelFailure, ToolPlan
from turnlog.protocol.events import (
    ApprovalAsked,
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionWanted,
    ContextAsked,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    ModelItemReceived,
    RecordedItem,
    RetryScheduled,
    ToolDispatched,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.items import text_message
from turnlog.protocol.ops import Compact, OverrideTurnContext
from turnlog.protocol.settings import CompactionLimits, SettingsUpdate
from turnlog.protocol.usage import TokenUsage

TOO_LONG = ModelFailure("context_window_exceeded", "too long")
SAID = [f"{number} {PROMPT}" for number in (1, 2, 3)]
OUTSIDE = ToolPlan("exec_command", parallel=True, wants="outside", approval_key="rm")


def summary(text: str) -> str:
    return texts.SUMMARY_BEGINS + text


# --- by hand --------------------------------------------------------------------------------------


def test_a_compaction_of_a_session_at_rest_is_a_turn_of_its_own() -> None:
    play = grown()
    opened, context = play.op(Compact(), "op-c")
    assert isinstance(opened, TurnOpened)
    assert (opened.turn, opened.op_id, opened.kind) == (4, "op-c", "compact")
    assert isinstance(context, ContextAsked)
    before = play.state.tokens
    (ask,) = play.load()
    assert ask == CompactionAsked(
        play.the(CompactionAsked).effect,
        "manual",
        1,
        6,
        0,
        before,
        text_message("user", texts.SUMMARIZE),
        limited(),
    )
    done, ended = play.summarize("in short")
    item = RecordedItem("summary", text_message("user", summary("in short")))
    after = sum(len(user(text)) for text in SAID) + len(item.item_json)
    assert done == Compacted("manual", "summary", 6, (0, 2, 4, item), before, after // 4)
    assert isinstance(ended, TurnEnded)
    assert ended.status == "completed"
    assert told(play) == [*SAID, summary("in short")]
    assert play.state.tokens == after // 4


def test_a_session_without_anything_to_sum_up_is_left_as_it_is() -> None:
    play = grown(turns=0)
    play.op(Compact())
    given_up, ended = play.load()
    why = "there is nothing yet that could be summed up"
    assert given_up == CompactionGivenUp("manual", why)
    assert isinstance(ended, TurnEnded)
    assert ended.status == "completed"
    assert play.state.history.texts() == []


def test_a_compaction_that_is_wanted_while_the_model_talks_comes_before_the_next_request() -> None:
    play = grown()
    play.ask("go")
    play.call("c1")
    assert play.op(Compact(), "op-c") == [CompactionWanted("op-c")]
    play.finish(0)
    ask = asked(play.complete())
    assert (ask.trigger, ask.parts) == ("manual", 9)
    done, model = play.summarize("in short")
    assert isinstance(done, Compacted)
    assert isinstance(model, ModelAsked)
    ledger = texts.LEDGER.format(lines="called exec_command {} (done)")
    assert told(play) == [*SAID, "go", ledger, summary("in short")]


def test_a_compaction_that_is_wanted_during_the_last_answer_is_made_before_the_turn_ends() -> None:
    play = grown()
    play.ask("go")
    play.item(said("done"))
    play.op(Compact())
    assert kinds(play.complete()) == ["CompactionAsked"]
    assert kinds(play.summarize("in short")) == ["Compacted", "TurnEnded"]
    assert told(play)[-1] == summary("in short")


def test_a_compaction_that_is_wanted_before_the_context_is_loaded_comes_before_the_prompt() -> None:
    play = grown()
    play.say("go")
    play.op(Compact())
    assert kinds(play.load()) == ["CompactionAsked"]
    assert kinds(play.summarize("in short")) == ["Compacted", "ItemsRecorded", "ModelAsked"]
    assert told(play) == [*SAID, summary("in short"), "go"]


def test_a_compaction_that_is_wanted_while_a_retry_is_waited_for_comes_when_it_is_over() -> None:
    play = grown()
    play.ask("go")
    play.fail(ModelFailure("server_error", "503", "request"))
    assert kinds(play.op(Compact())) == ["CompactionWanted"]
    assert kinds(play.fire()) == ["CompactionAsked"]
    _, model = play.summarize("in short")
    assert isinstance(model, ModelAsked)
    assert (model.request, model.attempt) == (1, 2)


def test_a_compaction_that_is_wanted_for_nothing_leaves_the_automatic_one_its_chance() -> None:
    play = Play.started(limits=limited(at_tokens=60))
    play.ask("go")
    play.op(Compact())
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete(TokenUsage(1, 0, 0, 1))
    play.finish(0, ANSWER)
    assert isinstance(play.state.turn, Turn)
    assert play.state.turn.compaction is not None


def test_a_compaction_waits_its_turn_after_one_of_another_kind() -> None:
    play = compacting()
    assert play.op(Compact(), "again") == [InputQueued("again", "turn")]
    decided = play.summarize("in short")
    assert kinds(decided) == ["Compacted", "TurnEnded", "TurnOpened", "ContextAsked"]
    asked(play.load())
    assert told(play)[-1] == summary("in short")
    play.summarize("shorter")
    assert told(play) == [*SAID, summary("shorter")]


# --- while calls are open -------------------------------------------------------------------------


def asking() -> Play:
    """Return a play with three calls: one runs, somebody is asked about the next, one has run."""
    play = grown()
    play.ask("go")
    play.call("c1")
    play.item(function_call("c2"), OUTSIDE)
    play.call("c3")
    play.finish(2, "third")
    play.complete()
    return play


def test_open_calls_are_carried_over_as_they_are_and_the_answer_still_lands() -> None:
    play = asking()
    question = play.the(ApprovalAsked)
    assert kinds(play.op(Compact())) == ["CompactionWanted", "CompactionAsked"]
    assert next(requests(play)).parts == 7
    assert play.state.outstanding[question.effect] == question
    assert kinds(play.summarize("in short")) == ["Compacted"]
    calls = [function_call(name) for name in ("c1", "c2", "c3")]
    assert play.state.history.texts()[-3:] == calls
    assert kinds(play.answer("approved")) == ["ToolDispatched"]
    play.finish(1, "second")
    assert kinds(play.finish(0, "first")) == ["ModelAsked"]
    outputs = [f"function_call_output {name}" for name in ("c1", "c2", "c3")]
    names = [f"function_call {name}" for name in ("c1", "c2", "c3")]
    assert told(play) == [*SAID, "go", summary("in short"), *names, *outputs]


def test_outputs_that_come_while_it_is_summed_up_stand_after_their_calls() -> None:
    play = asking()
    play.op(Compact())
    assert kinds(play.answer("approved")) == ["ToolDispatched"]
    play.finish(0, "first")
    assert play.finish(1, "second") == []
    done, model = play.summarize("in short")
    assert (kinds([done]), kinds([model])) == (["Compacted"], ["ModelAsked"])
    outputs = [f"function_call_output {name}" for name in ("c1", "c2", "c3")]
    assert told(play)[-3:] == outputs
    assert told(play)[:5] == [*SAID, "go", summary("in short")]


def test_a_declined_question_is_answered_while_it_is_summed_up() -> None:
    play = asking()
    play.op(Compact())
    assert kinds(play.answer("denied")) == ["CallSettled"]
    assert [effect.call for effect in play.all(ToolDispatched)] == [0]


# --- when it is due -------------------------------------------------------------------------------


def test_a_conversation_above_the_limit_is_compacted_before_the_next_prompt_is_told() -> None:
    play = grown(limited(at_tokens=350))
    play.say("go")
    (ask,) = play.load()
    assert isinstance(ask, CompactionAsked)
    assert (ask.trigger, ask.parts) == ("before_turn", 6)
    done, recorded, model = play.summarize("in short")
    assert isinstance(done, Compacted)
    assert recorded == ItemsRecorded((RecordedItem("user", user("go")),))
    assert isinstance(model, ModelAsked)
    assert told(play) == [*SAID, summary("in short"), "go"]


def test_a_conversation_at_the_limit_by_the_provider_s_count_is_compacted() -> None:
    play = grown(limited(at_tokens=5000), turns=1)
    play.ask("go")
    play.item(said("done"))
    play.complete(TokenUsage(4990, 0, 0, 10))
    play.say("more")
    assert asked(play.load()).tokens == 5000


def test_a_conversation_below_the_limit_is_not() -> None:
    play = grown(limited(at_tokens=5000))
    assert kinds(play.ask("go"))[-1] == "ModelAsked"


def test_a_conversation_that_grows_too_long_in_a_turn_is_compacted_before_the_next_request() -> (
    None
):
    play = Play.started(limits=limited(at_tokens=250))
    play.ask("go")
    play.call("c1")
    play.complete(TokenUsage(100, 0, 0, 10))
    ask = asked(play.finish(0, ANSWER * 2))
    assert (ask.trigger, ask.parts) == ("in_turn", 3)
    assert kinds(play.summarize("in short")) == ["Compacted", "ModelAsked"]
    assert told(play) == ["go", summary("in short")]


def test_an_answer_above_the_limit_ends_the_turn_since_nothing_more_is_asked() -> None:
    play = Play.started(limits=limited(at_tokens=250))
    play.ask("go")
    play.item(said(ANSWER * 3))
    assert kinds(play.complete()) == ["TurnEnded"]


def test_a_model_with_a_smaller_window_gets_the_summary_of_the_last_one() -> None:
    large = limited(at_tokens=10_000, window=12_000)
    play = grown(large)
    play.op(OverrideTurnContext(SettingsUpdate(model="gpt-small")))
    play.limits = limited(at_tokens=200, window=300)
    play.say("go")
    ask = asked(play.load())
    assert (ask.trigger, ask.settings, ask.skipped) == ("smaller_window", large, 0)
    done, _, changed, model = play.summarize("in short")
    assert compacted([done]).trigger == "smaller_window"
    assert kinds([changed, model]) == ["PrefixChanged", "ModelAsked"]


@pytest.mark.parametrize(("model", "window"), [("gpt-test", 300), ("gpt-large", 20_000)])
def test_the_same_model_or_a_larger_window_needs_no_help_of_the_last_one(
    model: str, window: int
) -> None:
    play = grown(limited(at_tokens=10_000, window=12_000))
    play.op(OverrideTurnContext(SettingsUpdate(model=model)))
    play.limits = limited(at_tokens=200, window=window)
    play.say("go")
    ask = asked(play.load())
    assert (ask.trigger, ask.settings.session.model) == ("before_turn", model)


def test_a_request_that_is_too_long_is_asked_again_after_a_compaction() -> None:
    play = grown()
    play.ask("go")
    (ask,) = play.fail(TOO_LONG)
    assert asked([ask]).trigger == "overflow"
    done, model = play.summarize("in short")
    assert isinstance(done, Compacted)
    assert isinstance(model, ModelAsked)
    assert (model.request, model.attempt) == (1, 2)
    assert kinds(play.complete()) == ["TurnEnded"]


def test_a_response_that_was_cut_as_too_long_is_dropped_before_the_compaction() -> None:
    play = grown()
    play.ask("go")
    play.item(said("half"))
    assert kinds(play.fail(TOO_LONG)) == ["ResponseAbandoned", "CompactionAsked"]
    play.summarize("in short")
    assert told(play) == [*SAID, "go", summary("in short")]


def test_a_compaction_after_an_overflow_carries_over_the_calls_that_were_begun() -> None:
    play = grown()
    play.ask("go")
    play.call("c1")
    assert kinds(play.fail(TOO_LONG)) == ["ResponseAbandoned", "CompactionAsked"]
    assert kinds(play.summarize("in short")) == ["Compacted"]
    assert kinds(play.finish(0)) == ["ModelAsked"]
    calls = ["function_call c1", "function_call_output c1"]
    assert told(play) == [*SAID, "go", summary("in short"), *calls]


# --- what stays -----------------------------------------------------------------------------------


def test_what_the_model_was_told_of_its_surroundings_last_is_still_there() -> None:
    play = Play.started(limits=limited())
    rules = ContextFragment("user_instructions", "user", "be careful")
    for place in ("/a", "/b"):
        play.say("go")
        play.load([rules, ContextFragment("environment", "user", place)])
        play.item(said(ANSWER))
        play.complete()
    play.op(Compact())
    play.load()
    play.summarize("in short")
    assert told(play) == ["be careful", "/b", "go", "go", summary("in short")]
    play.say("more")
    news, _ = play.load([rules, ContextFragment("environment", "user", "/b")])
    assert news == ItemsRecorded((RecordedItem("user", user("more")),))


def test_the_user_s_newest_messages_stay_and_the_one_that_just_does_not_fit_loses_its_middle() -> (
    None
):
    play = Play.started(limits=limited(user_tokens=200))
    for text in ("oldest", "begin " + "x" * 4000 + " end", "newest"):
        play.talk(text, ANSWER)
    play.op(Compact())
    play.load()
    play.summarize("in short")
    shortened, newest, last = told(play)
    assert (newest, last) == ("newest", summary("in short"))
    assert shortened.startswith("begin xxx")
    assert shortened.endswith("xxx end")
    assert "characters cut out" in shortened
    assert sum(map(len, play.state.history.texts()[:2])) <= 200 * 4


def test_no_more_of_the_user_s_words_stay_than_there_is_room_for() -> None:
    play = compacting(limited(user_tokens=20), turns=3)
    play.summarize("in short")
    assert told(play) == [summary("in short")]


def test_a_summary_takes_the_place_of_the_one_before() -> None:
    play = compacting()
    play.summarize("first")
    play.talk("go", ANSWER)
    play.op(Compact())
    play.load()
    play.summarize("second")
    assert told(play) == [*SAID, "go", summary("second")]


def test_the_last_of_several_messages_is_the_summary() -> None:
    play = compacting()
    effect = play.the(CompactionAsked).effect
    play.send(ModelItemReceived(effect, said("let me see")))
    play.summarize("in short")
    assert told(play)[-1] == summary("in short")


def test_calls_in_a_summary_are_not_run() -> None:
    play = compacting()
    effect = play.the(CompactionAsked).effect
    plan = ToolPlan("exec_command")
    assert play.send(ModelItemReceived(effect, function_call("c1"), plan)) == []
    play.summarize("in short")
    assert told(play) == [*SAID, summary("in short")]


def test_a_prompt_of_the_user_s_own_asks_for_the_summary() -> None:
    own = CompactionLimits(prompt="Sum up.")
    play = Play.started(limits=limited())
    play.talk("go", ANSWER)
    assert play.limits is not None
    play.op(Compact())
    (ask,) = play.load(settings=type(play.limits)(SETTINGS, compaction=own))
    assert asked([ask]).prompt_json == text_message("user", "Sum up.")


# --- input meanwhile ------------------------------------------------------------------------------


def test_input_during_a_compaction_in_a_turn_is_told_after_it() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    assert play.say("word") == [InputQueued("op-5", "request")]
    assert kinds(play.summarize("in short")) == ["Compacted", "ItemsRecorded", "ModelAsked"]
    assert told(play) == [*SAID, "go", summary("in short"), "word"]


def test_input_during_a_compaction_before_a_turn_is_told_after_the_prompt() -> None:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    play.say("word")
    play.summarize("in short")
    assert told(play)[-3:] == [summary("in short"), "go", "word"]


def test_input_during_a_compaction_by_hand_is_the_next_turn() -> None:
    play = compacting()
    assert play.say("word") == [InputQueued("op-5", "turn")]
    play.summarize("in short")
    play.load()
    assert told(play)[-2:] == [summary("in short"), "word"]


def test_nothing_is_asked_of_the_model_while_it_sums_up() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    play.say("word")
    play.op(Compact())
    assert (play.all(ModelAsked), play.all(RetryScheduled), len(play.all(CompactionAsked))) == (
        [],
        [],
        1,
    )
