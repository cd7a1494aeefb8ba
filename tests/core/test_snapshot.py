"""A snapshot gives back the state that it was taken of, or nothing."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.compacting import compacting
from tests.core.play import Play, function_call, said
from tests.strategies import sessions
from turnlog.actors.core import snapshot as snapshots
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.snapshot import Restoration, snapshot
from turnlog.actors.core.state import State
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import Compacted, ModelItemReceived, StepFailed
from turnlog.protocol.ops import Shutdown


def restored(data: bytes, records: Iterable[Recorded]) -> State | None:
    """Restore from those of `records` that the snapshot asks for."""
    restoration = Restoration.begin(data)
    if restoration is None:
        return None
    wanted = set(restoration.sequences())
    restoration.take(record for record in records if record.sequence in wanted)
    return restoration.finish()


def resting_places(play: Play) -> Iterator[tuple[int, bytes, State]]:
    """Yield each end of a step where no turn is open: its sequence, snapshot and state."""
    for at in (0, *play.ends):
        state = rebuild(play.records[:at])
        data = snapshot(state)
        assert (data is None) == (state.turn is not None or bool(state.outstanding))
        if data is not None and at:
            yield at, data, state


def last_rest(play: Play) -> tuple[int, bytes, State]:
    return [*resting_places(play)][-1]


@given(sessions(most_facts=30))
def test_a_state_between_turns_comes_back_whole_and_continues_as_if_folded(play: Play) -> None:
    for at, data, state in resting_places(play):
        back = restored(data, play.records[:at])
        assert back is not None
        assert back == state
        assert snapshot(back) == data
        rebuild(play.records[at:], back)
        assert back == play.state
        assert list(back.op_ids) == list(play.state.op_ids)  # the oldest is forgotten first
        assert model_input(back) == model_input(play.state)


@given(sessions(), st.data())
def test_a_snapshot_with_any_byte_changed_is_noticed(play: Play, data: st.DataObject) -> None:
    _, good, _ = last_rest(play)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    for wrong in (bytes(bad), cut, good + b"\0"):
        assert restored(wrong, play.records) is None


@given(sessions(), sessions())
def test_a_snapshot_never_turns_another_session_into_what_it_is_not(one: Play, two: Play) -> None:
    _, data, state = last_rest(one)
    assert restored(data, two.records) in (None, state)
    at = state.head
    assume(len(two.records) < at or two.records[at - 1].digest != state.digest)
    assert restored(data, two.records) is None


@given(sessions())
def test_each_event_that_is_asked_for_is_needed(play: Play) -> None:
    _, data, _ = last_rest(play)
    restoration = Restoration.begin(data)
    assert restoration is not None
    for gone in restoration.sequences():
        records = [record for record in play.records if record.sequence != gone]
        assert restored(data, records) is None
        unknown = structs.replace(
            play.records[gone - 1], event=UnknownEvent(999, True, b"\x91\x07"), digest=bytes(16)
        )
        assert restored(data, [*records, unknown]) is None


def test_a_part_that_is_not_what_it_was_is_noticed() -> None:
    play = Play.started()
    play.ask("hi")
    play.item(said("hello"))
    play.complete()
    data = snapshot(play.state)
    assert data is not None
    for at, record in enumerate(play.records):
        if isinstance(record.event, ModelItemReceived):
            other = structs.replace(record.event, item_json=said("goodbye"))
            play.records[at] = structs.replace(record, event=other)
    assert restored(data, play.records) is None


def test_outputs_of_all_origins_are_put_together_again() -> None:
    play = Play.started()
    play.ask("hi")
    for call_id in ("ran", "refused", "never started"):
        refusal = "no" if call_id == "refused" else None
        play.item(function_call(call_id), ToolPlan("exec_command", False, refusal=refusal))
    play.complete()
    play.finish(0, "x" * 5000)
    play.interrupt()
    play.settle(5)
    assert play.state.turn is None
    _, data, state = last_rest(play)
    assert restored(data, play.records) == state


def test_outputs_that_a_failed_step_gave_are_put_together_again() -> None:
    play = Play.started()
    play.ask("hi")
    play.call("a")
    play.complete()
    state = play.state
    failed = Recorded(
        state.head + 1, state.time_us, "decision", state.head, 1, b"d" * 16, StepFailed("oh")
    )
    rebuild([failed], state)
    data = snapshot(state)
    assert data is not None
    assert restored(data, [*play.records, failed]) == state


def test_what_waits_for_a_later_turn_is_kept_in_a_closed_session() -> None:
    play = Play.started()
    play.ask("first")
    play.interrupt()
    play.say("second")
    play.op(Shutdown())
    play.settle(5)
    assert play.state.closed
    assert len(play.state.queue) == 1
    _, data, state = last_rest(play)
    back = restored(data, play.records)
    assert back == state
    play.open()
    assert back is not None
    assert rebuild(play.records[state.head :], back) == play.state
    assert back.turn is not None


def test_a_snapshot_of_another_release_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play.started()
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "_MAKER", b"turnlog 0.0.1 snapshot 1")
        data = snapshot(play.state)
        assert data is not None
        assert restored(data, play.records) == play.state
    assert restored(data, play.records) is None


def test_an_empty_session_has_nothing_to_restore_from() -> None:
    data = snapshot(State())
    assert data is not None
    assert restored(data, []) is None


def test_a_part_costs_a_few_bytes_however_long_its_text_and_its_log() -> None:
    play = Play.started()
    sizes = list[int]()
    for number in range(201):
        if number % 100 == 0:
            data = snapshot(play.state)
            assert data is not None
            sizes.append(len(data))
        play.ask("a prompt " * 100)
        play.call(f"call {number}")
        play.complete()
        play.finish(0, "output " * 1000)
        play.complete()
    op_ids = sum(len(f"op-{number}") + 1 for number in range(101, 201))
    parts = 300  # of each hundred turns; where they began is kept of the last hundred only
    assert sizes[2] - sizes[1] - op_ids < 4 * parts


# --- snapshots that say what the log does not -----------------------------------------------------


def read_back(play: Play) -> State | None:
    """Return what a snapshot of the live state, whatever that is, gives with the log."""
    data = snapshot(play.state)
    assert data is not None
    return restored(data, play.records)


def called() -> Play:
    play = Play.started()
    play.ask("go")
    play.item(said("now"))
    play.call("c1")
    play.complete()
    play.finish(0)
    play.complete()
    return play


def test_a_snapshot_whose_fields_have_other_types_is_none_of_this_release() -> None:
    play = called()
    play.state.turns = "many"  # type: ignore[assignment]
    assert read_back(play) is None


def test_a_snapshot_that_takes_a_message_for_a_call_is_noticed() -> None:
    play = called()
    assert read_back(play) == play.state
    parts = play.state.history.parts
    message, output = parts[1].source[0], parts[3].source[0]
    parts[3] = structs.replace(parts[3], source=(output, output - message))
    assert read_back(play) is None


def test_a_snapshot_that_takes_a_part_that_stayed_for_a_new_one_is_noticed() -> None:
    play = compacting()
    play.summarize("in short")
    at = next(r.sequence for r in play.records if isinstance(r.event, Compacted))
    parts = play.state.history.parts
    parts[0] = structs.replace(parts[0], source=(at, 0))
    assert read_back(play) is None
