"""What holds of every session, whatever its user, its model, its tools and its machine do."""

import copy

import attrs
from hypothesis import given
from hypothesis import strategies as st

from tests.core.oracle import (
    assert_sound,
    assert_valid_input,
    whole_responses,
)
from tests.core.play import Play, known
from tests.core.world import late_facts
from tests.strategies import events, sessions
from turnlog.actors.core.evolving import evolve
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.session import step
from turnlog.actors.core.state import OpenTurn, State, Turn, tools_digest
from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.events import (
    Compacted,
    ContextLoaded,
    ModelAsked,
    OpReceived,
    OpRefused,
    SessionEvent,
    TurnsDropped,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.ops import UserInput
from turnlog.replay.verify.verifier import divergences

MOST_STEPS = 200  # far above what any drawn session has open or queued


@given(sessions())
def test_the_log_alone_gives_the_live_state_after_every_step(play: Play) -> None:
    live = State()
    rebuilt = State()
    begin = 0
    for end in play.ends:
        records = play.records[begin:end]
        fact, *decided = known(records)
        batch = step(live, fact, time_us=records[0].time_us)  # type: ignore[arg-type]
        assert batch == [fact, *decided]
        live.digest = records[-1].digest
        rebuild(records, rebuilt)
        assert rebuilt == live
        assert model_input(rebuilt) == model_input(live)
        begin = end
    assert rebuild(play.records) == play.state


@given(sessions())
def test_a_turn_continues_as_it_began_once_it_has_its_context(play: Play) -> None:
    state = State()
    for record, event in zip(play.records, play.events, strict=True):
        before = copy.deepcopy(state.turn)
        rebuild([record], state)
        if isinstance(event, ContextLoaded) and state.in_hand.closes is not None:
            assert type(before) is OpenTurn
            before.owes_request = before.owes_request or before.kind == "regular"
            fields, digest = attrs.asdict(before, recurse=False), tools_digest(event.tools_json)
            assert state.turn == Turn(**fields, context=event, tools_digest=digest)
        elif before is not None and state.turn is not None:
            assert type(state.turn) is type(before)


@given(sessions())
def test_events_and_their_times_are_all_that_a_fold_needs(play: Play) -> None:
    folded = State()
    for record, event in zip(play.records, play.events, strict=True):
        evolve(folded, event, time_us=record.time_us)
    folded.digest = play.state.digest
    assert folded == play.state


@given(sessions())
def test_replay_finds_no_difference(play: Play) -> None:
    assert list(divergences(play.records)) == []


@given(sessions())
def test_the_model_input_is_valid_at_every_event(play: Play) -> None:
    state = State()
    whole = whole_responses(play.events)
    for record in play.records:
        rebuild([record], state)
        assert_valid_input(model_input(state), whole)


@given(sessions())
def test_each_request_begins_with_the_one_before_it(play: Play) -> None:
    state, before = State(), list[str]()
    for record in play.records:
        rebuild([record], state)
        if isinstance(record.event, Compacted | TurnsDropped):
            before = []  # a new epoch
        if isinstance(record.event, ModelAsked):
            sent = state.history.texts()[: record.event.parts]
            assert sent == model_input(state)
            assert sent[: len(before)] == before
            assert record.event.input_digest == _digest(sent)
            before = sent


def _digest(parts: list[str]) -> str:
    digest = GENESIS
    for part in parts:
        digest = chain(digest, part.encode())
    return digest.hex()


@given(sessions())
def test_turns_effects_and_calls_are_sound(play: Play) -> None:
    assert_sound(play)


@given(sessions())
def test_every_session_comes_to_rest_once_its_effects_are_closed(play: Play) -> None:
    play.settle(MOST_STEPS)
    if play.state.closed:  # what is queued waits for the next opening
        play.open()
        play.settle(MOST_STEPS)
    assert_sound(play)
    assert (play.state.turn, play.state.queue) == (None, [])
    assert play.state.summary is not None
    assert play.state.summary.status == "idle"
    assert_valid_input(play.state.history.texts(), whole_responses(play.events))


@given(sessions(), st.data())
def test_a_late_fact_changes_nothing_but_the_count(play: Play, data: st.DataObject) -> None:
    gone = sorted(set(play.effects) - set(play.state.outstanding)) or [EffectId("0.tool.0")]
    fact = data.draw(st.sampled_from(late_facts(data.draw(st.sampled_from(gone)))))
    before = copy.deepcopy(play.state)
    assert play.send(fact) == []
    assert _without_count(play.state) == _without_count(before)


def _without_count(state: State) -> State:
    return attrs.evolve(state, head=0, time_us=0, facts=0, digest=b"")


@given(sessions(when=lambda play: play.ops > 0), st.data())
def test_an_op_that_is_sent_twice_is_done_once(play: Play, data: st.DataObject) -> None:
    op_id = data.draw(st.sampled_from(sorted(play.state.op_ids)))
    before = copy.deepcopy(play.state)
    decided = play.send(OpReceived(op_id, UserInput(())))
    assert [(type(one), getattr(one, "code", "")) for one in decided] == [
        (OpRefused, "duplicate_op")
    ]
    assert _without_count(play.state) == _without_count(before)


@given(st.lists(st.tuples(events(), st.integers(0, 2**50)), max_size=30))
def test_no_event_is_ever_refused_by_the_fold(log: list[tuple[SessionEvent, int]]) -> None:
    state = State()
    for event, time_us in log:
        evolve(state, event, time_us=time_us)
    assert state.head == len(log)


@given(sessions(), st.lists(events(), min_size=1, max_size=8))
def test_no_event_is_refused_in_the_middle_of_a_session(
    play: Play, planted: list[SessionEvent]
) -> None:
    state = play.state
    for event in planted:
        evolve(state, event, time_us=state.time_us)
    model_input(state)


@given(sessions())
def test_time_never_runs_backwards(play: Play) -> None:
    times = [record.time_us for record in play.records]
    assert times == sorted(times)
