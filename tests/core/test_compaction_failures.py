"""Summaries that fail, do not help, or are cut off: a compaction always ends."""

from typing import Literal

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
from tests.core.play import Play, function_call, said
from turnlog.actors.core import texts
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.protocol.calls import ErrorInfo, ModelFailure, PatchReport, ToolPlan
from turnlog.protocol.events import (
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    EffectClosed,
    EffectLost,
    InputQueued,
    ModelAsked,
    ModelCompleted,
    ModelItemReceived,
    RetryScheduled,
    ToolFinished,
    TurnEnded,
    TurnStopping,
)
from turnlog.protocol.ops import Compact
from turnlog.protocol.settings import RetryLimits
from turnlog.protocol.usage import TokenUsage

TOO_LONG = ModelFailure("context_window_exceeded", "too long")
CUT = ModelFailure("stream_disconnected", "stream closed", "stream")
REFUSED = ModelFailure("bad_request", "no")
SAID = [f"{number} {PROMPT}" for number in (1, 2, 3)]
WHY = "nothing smaller could take its place"
TWICE = limited(retry=RetryLimits(2, 2))


def cut_off(play: Play) -> None:
    """Check that what is left of a cut conversation is its newest part, and says so."""
    assert texts.CUT in told(play)
    assert told(play)[: len(SAID)] == SAID


# --- tried again ----------------------------------------------------------------------------------


def test_a_summary_that_was_cut_is_asked_for_again_after_a_while() -> None:
    play = compacting(TWICE)
    (retry,) = play.fail_summary(CUT)
    assert isinstance(retry, RetryScheduled)
    assert (retry.level, retry.retry, retry.max_retries) == ("stream", 1, 2)
    assert 180 <= retry.delay_ms <= 220
    (again,) = play.fire()
    first, *_ = requests(play)
    assert isinstance(again, CompactionAsked)
    assert (again.attempt, again.parts, again.prompt_json) == (2, first.parts, first.prompt_json)
    assert kinds(play.summarize("in short")) == ["Compacted", "TurnEnded"]


def test_the_provider_s_wish_for_a_pause_is_honoured() -> None:
    play = compacting()
    (retry,) = play.fail_summary(ModelFailure("rate_limited", "slow down", "request", 1500))
    assert isinstance(retry, RetryScheduled)
    assert retry.delay_ms == 1500


def test_half_a_summary_of_a_try_that_failed_is_forgotten() -> None:
    play = compacting(TWICE)
    play.send(ModelItemReceived(play.the(CompactionAsked).effect, said("half of")))
    play.fail_summary(CUT)
    play.fire()
    (again,) = play.send(ModelCompleted(play.the(CompactionAsked).effect, "resp"))
    assert isinstance(again, CompactionAsked)  # it held nothing, and that for the first time
    decided = play.send(ModelCompleted(play.the(CompactionAsked).effect, "resp"))
    assert compacted(decided).method == "truncation"


def test_tries_are_counted_and_then_the_conversation_is_cut() -> None:
    play = compacting(TWICE)
    for _ in range(2):
        play.fail_summary(CUT)
        play.fire()
    done, ended = play.fail_summary(CUT)
    assert compacted([done]).method == "truncation"
    assert isinstance(ended, TurnEnded)
    assert ended.status == "completed"
    assert len(list(requests(play))) == 3
    cut_off(play)


# --- shorter --------------------------------------------------------------------------------------


def test_a_conversation_above_the_window_is_summed_up_without_its_oldest_parts() -> None:
    play = grown(turns=4)
    play.limits = limited(at_tokens=350, window=600)
    play.ask("go")
    (ask,) = requests(play)
    assert ask.tokens > 600 * 9 // 10
    assert ask.skipped == 2  # the first prompt and its answer


def test_a_summary_that_is_asked_for_with_too_much_is_asked_for_with_the_newer_half() -> None:
    play = compacting(turns=8)
    skipped: list[int] = [0]
    while play.all(CompactionAsked):
        decided = play.fail_summary(TOO_LONG)
        skipped += [one.skipped for one in decided if isinstance(one, CompactionAsked)]
    assert skipped == [0, 8, 12, 14]
    assert [one.attempt for one in requests(play)] == [1, 2, 3, 4]
    assert told(play)[0] == SAID[0]
    assert texts.CUT in told(play)


def test_a_shorter_try_has_retries_of_its_own() -> None:
    play = compacting(TWICE)
    for _ in range(2):
        play.fail_summary(CUT)
        play.fire()
    assert kinds(play.fail_summary(TOO_LONG)) == ["CompactionAsked"]
    (retry,) = play.fail_summary(CUT)
    assert isinstance(retry, RetryScheduled)
    assert retry.retry == 1


# --- without a summary ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["failed", "crashed"])
def test_a_summary_that_breaks_down_gives_way_to_a_plain_cut(
    how: Literal["failed", "crashed"],
) -> None:
    play = compacting()
    decided = play.send(EffectClosed(play.the(CompactionAsked).effect, how, "boom"))
    assert kinds(decided) == ["Compacted", "TurnEnded"]
    cut_off(play)


def test_a_summary_that_is_taken_away_fails_the_turn() -> None:
    play = compacting()
    decided = play.send(EffectClosed(play.the(CompactionAsked).effect, "cancelled"))
    assert kinds(decided) == ["TurnStopping", "TurnEnded"]


@pytest.mark.parametrize("nothing", ["", "  \n"])
@pytest.mark.parametrize(("then", "method"), [("in short", "summary"), (" ", "truncation")])
def test_an_answer_without_a_summary_gets_another_try_and_no_third(
    nothing: str, then: str, method: str
) -> None:
    play = compacting()
    (again,) = play.summarize(nothing)
    assert isinstance(again, CompactionAsked)
    assert (again.trigger, again.attempt, again.skipped) == ("manual", 2, 0)
    done, ended = play.summarize(then)
    assert isinstance(done, Compacted)
    assert isinstance(ended, TurnEnded)
    assert (done.method, ended.status) == (method, "completed")


def test_a_summary_that_is_longer_gives_way_to_a_plain_cut() -> None:
    play = compacting()
    done = compacted(play.summarize(ANSWER * 20))
    assert (done.trigger, done.method) == ("manual", "truncation")
    assert done.tokens_after < done.tokens_before
    cut_off(play)


def test_a_failure_that_no_retry_repairs_gives_way_to_a_plain_cut() -> None:
    play = compacting()
    assert kinds(play.fail_summary(REFUSED)) == ["Compacted", "TurnEnded"]
    cut_off(play)


def test_a_cut_begins_at_a_whole_response() -> None:
    play = Play.started(limits=limited())
    play.ask("go")
    for number in range(6):
        play.item(said(f"now {number}"))
        play.call(f"a{number}")
        play.call(f"b{number}")
        play.complete()
        play.finish(2 * number, ANSWER)
        play.finish(2 * number + 1)
    play.complete()
    play.op(Compact())
    play.load()
    play.fail_summary(REFUSED)
    calls = ["function_call a5", "function_call b5"]
    outputs = ["function_call_output a5", "function_call_output b5"]
    done = texts.LEDGER.format(lines="called exec_command {} (done) (10 times)")
    assert told(play) == ["go", done, texts.CUT, "now 5", *calls, *outputs]


def test_what_cannot_be_made_smaller_is_left_as_it_is() -> None:
    play = grown(turns=0)
    play.talk("x" * 100, "y")
    before = play.state.history.texts()
    play.op(Compact())
    play.load()
    given_up, ended = play.summarize(ANSWER * 5)
    assert given_up == CompactionGivenUp("manual", WHY)
    assert isinstance(ended, TurnEnded)
    assert ended.status == "completed"
    assert play.state.history.texts() == before


def test_a_turn_continues_with_a_conversation_that_nothing_makes_smaller_and_asks_no_more() -> None:
    play = Play.started(limits=limited(at_tokens=20))
    play.talk("x" * 100, "y")
    play.say("go")
    assert kinds(play.load()) == ["CompactionAsked"]
    given_up, _, model = play.summarize(ANSWER)
    assert given_up == CompactionGivenUp("before_turn", WHY)
    assert isinstance(model, ModelAsked)
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    assert kinds(play.finish(0)) == ["ModelAsked"]


def test_a_turn_whose_request_is_too_long_and_cannot_be_shorter_fails() -> None:
    play = grown(turns=0)
    play.talk("x" * 100, "y")
    play.ask("go")
    play.fail(TOO_LONG)
    given_up, stopping, ended = play.summarize(ANSWER * 5)
    assert given_up == CompactionGivenUp("overflow", WHY)
    assert stopping == TurnStopping("failed", ErrorInfo("context_window_exceeded", texts.TOO_LONG))
    assert isinstance(ended, TurnEnded)
    assert ended.status == "failed"


def test_a_first_prompt_that_is_too_long_fails_its_turn_since_there_is_nothing_to_sum_up() -> None:
    play = grown(turns=0)
    play.ask("x" * 1000)
    stopping, ended = play.fail(TOO_LONG)
    assert stopping == TurnStopping("failed", ErrorInfo("context_window_exceeded", "too long"))
    assert isinstance(ended, TurnEnded)


def test_a_conversation_that_grew_after_nothing_was_smaller_is_still_rescued() -> None:
    play = Play.started(limits=limited(at_tokens=20))
    play.talk("x" * 100, "y")
    play.ask("go")
    play.summarize(ANSWER)  # given up
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    play.finish(0, ANSWER * 9)
    assert asked(play.fail(TOO_LONG)).trigger == "overflow"


# --- no end in sight ------------------------------------------------------------------------------


def test_a_second_overflow_after_the_compaction_ends_the_turn() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    play.summarize("in short")
    stopping, ended = play.fail(TOO_LONG)
    assert stopping == TurnStopping("failed", ErrorInfo("context_window_exceeded", "too long"))
    assert isinstance(ended, TurnEnded)


def test_a_response_between_two_overflows_makes_the_second_one_a_first() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    play.summarize("in short")
    play.call("c1")
    play.complete()
    play.finish(0, ANSWER)
    assert asked(play.fail(TOO_LONG)).trigger == "overflow"


def work(play: Play, number: int, usage: int, output: str = "ok") -> list[str]:
    """Let the model call a tool once, in a response that ends at `usage` tokens."""
    play.call(f"c{number}")
    play.complete(TokenUsage(usage, 0, 0, 0))
    return kinds(play.finish(number, output))


def test_a_conversation_that_stays_above_its_limit_is_sent_as_it_is() -> None:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    play.summarize("in short")
    assert work(play, 0, 400) == ["ModelAsked"]
    assert work(play, 1, 500, ANSWER) == ["ModelAsked"]
    assert kinds(play.fail(TOO_LONG))[0] == "CompactionAsked"  # the provider's own word


def test_a_conversation_that_falls_below_its_limit_is_compacted_when_it_grows_again() -> None:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    play.summarize("in short")
    work(play, 0, 400)
    work(play, 1, 100)
    assert work(play, 2, 100, ANSWER * 4) == ["CompactionAsked"]


def test_an_overflow_counts_as_a_full_window() -> None:
    play = Play.started(limits=limited(at_tokens=900, window=1000))
    play.ask("go")
    play.fail(TOO_LONG)
    assert play.state.turn is None
    assert play.state.tokens == 1000
    play.say("and now?")
    assert kinds(play.load())[0] == "CompactionGivenUp"  # there is nothing to sum up yet


def test_a_summary_after_an_overflow_is_asked_for_without_what_the_window_does_not_hold() -> None:
    play = grown(limited(at_tokens=900, window=1000))
    play.ask("go")
    decided = asked(play.fail(TOO_LONG))
    assert (decided.trigger, decided.tokens) == ("overflow", 1000)
    assert decided.skipped > 0


def test_one_compaction_is_made_before_a_turn_however_much_it_leaves() -> None:
    play = grown()
    play.limits = limited(at_tokens=60)
    play.ask("go")
    assert kinds(play.summarize("in short")) == ["Compacted", "ItemsRecorded", "ModelAsked"]
    assert play.state.tokens > 60


def test_a_turn_that_is_compacted_again_and_again_without_a_change_is_stopped() -> None:
    play = Play.started(limits=limited(at_tokens=300, user_tokens=20, most_in_a_row=2))
    play.ask("go")
    for number in (0, 1):
        assert work(play, number, 10, ANSWER * 3) == ["CompactionAsked"]
        play.summarize("in short")
    assert work(play, 2, 10, ANSWER * 3) == ["TurnStopping", "TurnEnded"]
    ended = play.events[-1]
    assert isinstance(ended, TurnEnded)
    assert ended.error == ErrorInfo("compaction_stalled", texts.NO_PROGRESS.format(times=2))


@pytest.mark.parametrize("how", ["a word", "a patch"])
def test_a_word_of_the_user_s_and_a_changed_file_are_progress(how: str) -> None:
    play = Play.started(limits=limited(at_tokens=300, user_tokens=20, most_in_a_row=1))
    play.ask("go")
    work(play, 0, 10, ANSWER * 3)
    play.summarize("in short")
    if how == "a word":
        play.say("continue")
        assert work(play, 1, 10, ANSWER * 3) == ["CompactionAsked"]
        return
    play.call("c1")
    play.complete(TokenUsage(10, 0, 0, 0))
    report = PatchReport((), applied=True)
    done = ToolFinished(play.tool(1), "done", "", ANSWER * 3, None, report)
    assert kinds(play.send(done)) == ["CompactionAsked"]


def test_a_compaction_by_hand_is_never_too_much() -> None:
    play = Play.started(limits=limited(most_in_a_row=0))
    play.talk("go", ANSWER)
    play.op(Compact())
    assert kinds(play.load()) == ["CompactionAsked"]


# --- cut off --------------------------------------------------------------------------------------


def test_an_interrupt_leaves_the_conversation_as_it_was() -> None:
    play = compacting()
    before = play.state.history.texts()
    assert play.interrupt() == [TurnStopping("interrupted")]
    assert play.say("next") == [InputQueued("op-6", "turn")]
    decided = play.send(EffectClosed(play.the(CompactionAsked).effect, "cancelled"))
    assert kinds(decided) == ["TurnEnded", "TurnOpened", "ContextAsked"]
    assert play.state.history.texts() == before


def test_a_summary_that_comes_while_the_turn_stops_is_not_put_in_place() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    before = play.state.history.texts()
    play.interrupt()
    assert kinds(play.summarize("in short")) == ["ItemsRecorded", "TurnEnded"]
    assert play.state.history.texts()[: len(before)] == before


def test_an_interrupt_before_a_turn_loses_no_prompt() -> None:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    play.interrupt()
    play.settle(1)
    assert told(play)[-2:] == ["go", texts.TURN_ABORTED]


@pytest.mark.parametrize("waits", [False, True])
def test_an_engine_that_takes_over_asks_for_the_summary_again(*, waits: bool) -> None:
    play = compacting(TWICE)
    if waits:
        play.fail_summary(CUT)
    lost = next(iter(play.state.outstanding))
    first = next(requests(play))
    gone, again = play.open()
    assert gone == EffectLost(lost)
    assert isinstance(again, CompactionAsked)
    assert (again.attempt, again.parts, again.skipped) == (2, first.parts, first.skipped)
    assert kinds(play.summarize("in short")) == ["Compacted", "TurnEnded"]


def test_a_crash_in_a_turn_asks_for_the_summary_and_not_for_the_model() -> None:
    play = grown()
    play.ask("go")
    play.fail(TOO_LONG)
    play.say("word")
    assert kinds(play.open()) == ["EffectLost", "CompactionAsked"]
    assert kinds(play.summarize("in short")) == ["Compacted", "ItemsRecorded", "ModelAsked"]


def test_a_crash_does_not_give_a_failing_summary_its_retries_back() -> None:
    play = compacting(TWICE)
    for _ in range(2):
        play.fail_summary(CUT)
        play.open()
    assert play.all(RetryScheduled) == []
    assert kinds(play.fail_summary(CUT)) == ["Compacted", "TurnEnded"]


def lived() -> Play:
    """Return a session that was compacted by hand, before a turn and inside one."""
    play = compacting()
    play.summarize("in short")
    play.limits = limited(at_tokens=100)
    play.ask("go")
    play.summarize("shorter")
    play.complete()
    play.limits = limited(at_tokens=300)
    play.ask("continue")
    work(play, 0, 10, ANSWER * 3)
    play.summarize("shortest")
    play.item(said("done"))
    play.complete()
    return play


def test_every_event_before_a_compaction_and_after_it_can_be_forked_at() -> None:
    play = lived()
    assert len([one for one in play.events if isinstance(one, Compacted)]) == 3
    for at in play.ends[1:]:
        cut = play.cut(at)
        before = cut.state.history.texts()
        cut.fork()
        assert cut.state.history.texts()[: len(before)] == before
        assert (cut.state.turn, cut.state.outstanding) == (None, {})
        cut.open()
        cut.limits = limited()
        assert kinds(cut.ask("and now"))[-1] == "ModelAsked"
        assert told(cut)[-1] == "and now"


def test_the_log_alone_gives_the_same_bytes_at_every_event() -> None:
    play = lived()
    live = rebuild(play.records[:1])
    for record in play.records[1:]:
        evolve(live, play.events[record.sequence - 1], time_us=record.time_us)
        rebuilt = rebuild(play.records[: record.sequence])
        assert rebuilt.history == live.history


def test_a_snapshot_after_a_compaction_is_the_live_state() -> None:
    play = lived()
    data = snapshot(play.state)
    assert data is not None
    restoration = Restoration.begin(data)
    assert restoration is not None
    needed = restoration.sequences()
    assert min(needed) > 1
    restoration.take([play.records[at - 1] for at in needed])
    assert restoration.finish() == play.state
