"""What holds of every compaction: it ends, it makes nothing larger, and it begins an epoch."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.compacting import compacting, limited, requests
from tests.core.play import Play
from tests.core.test_compaction_failures import CUT, REFUSED, TOO_LONG
from tests.strategies import sessions
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State
from turnlog.protocol.events import (
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    ModelAsked,
    RetryScheduled,
    SessionOpened,
    TurnEnded,
    TurnsDropped,
)
from turnlog.protocol.settings import RetryLimits

WAYS = st.lists(st.sampled_from(["cut", "long", "crash", "refused", "empty"]), max_size=12)


@given(WAYS, st.integers(1, 6), st.integers(0, 3))
def test_a_compaction_ends_whatever_becomes_of_its_summary(
    ways: list[str], turns: int, retries: int
) -> None:
    play = compacting(limited(retry=RetryLimits(retries, retries)), turns)
    size, crashes = play.state.history.size, 0
    for way in ways:
        if play.all(RetryScheduled):
            play.fire()
        if not play.all(CompactionAsked):
            break
        match way:
            case "cut":
                play.fail_summary(CUT)
            case "long":
                play.fail_summary(TOO_LONG)
            case "crash":
                crashes += 1
                play.open()
            case "refused":
                play.fail_summary(REFUSED)
            case _:
                play.summarize("")
    play.settle(4)
    assert play.state.turn is None
    assert play.state.history.size < size
    shorter = (2 * turns).bit_length()
    assert len(list(requests(play))) <= (1 + shorter) * (1 + retries) + crashes


@given(sessions())
def test_no_compaction_makes_the_conversation_larger(play: Play) -> None:
    state = State()
    for record in play.records:
        size, tokens = state.history.size, state.tokens
        rebuild([record], state)
        if isinstance(event := record.event, Compacted):
            assert state.history.size < size
            assert (event.tokens_before, event.tokens_after) == (tokens, state.tokens)
            assert event.tokens_after <= event.tokens_before


@given(sessions())
def test_each_compaction_is_tried_a_bounded_number_of_times(play: Play) -> None:
    tries: list[CompactionAsked] = []
    crashes = 0
    for event in play.events:
        match event:
            case CompactionAsked():
                if event.attempt == 1:
                    tries, crashes = [], 0
                tries.append(event)
                assert [one.attempt for one in tries] == list(range(1, len(tries) + 1))
                skips = [one.skipped for one in tries]
                assert skips == sorted(skips)
                retries = event.settings.retry.stream_max_retries
                shorter = event.parts.bit_length()
                assert len(tries) <= (1 + shorter) * (1 + retries) + crashes
            case SessionOpened():
                crashes += 1
            case _:
                pass


@given(sessions())
def test_between_two_requests_of_a_turn_one_compaction_of_its_own_accord_is_made(
    play: Play,
) -> None:
    made = 0
    for event in play.events:
        match event:
            case ModelAsked() | TurnEnded():
                made = 0
            case Compacted(trigger=trigger) | CompactionGivenUp(trigger=trigger):
                made += trigger != "manual"
                assert made <= 1
            case _:
                pass


@given(sessions())
def test_within_an_epoch_the_conversation_only_grows(play: Play) -> None:
    state = State()
    for record in play.records:
        epoch, before = state.epoch, state.history.texts()
        rebuild([record], state)
        if isinstance(record.event, Compacted | TurnsDropped) and state.epoch != epoch:
            assert state.epoch == epoch + 1
        else:
            assert state.epoch == epoch
            assert state.history.texts()[: len(before)] == before
