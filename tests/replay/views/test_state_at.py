"""A session at any of its events: its state, what the event changed, and the model's request."""

from typing import Any

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.core.play import Play
from tests.errors import raises_code
from tests.replay.views.kit import keep, session_id
from tests.strategies import sessions
from turnlog.actors.core.history import MODEL, History, Part
from turnlog.actors.core.model_input import model_input
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.snapshot import snapshot
from turnlog.actors.ports import StoredSnapshot
from turnlog.protocol.envelope import GENESIS, Envelope, Record, chain, read_envelope
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.events import ModelAsked
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.views.state_at import (
    StateAt,
    input_digest,
    model_input_at,
    state_at_event,
    state_view,
)
from turnlog.replay.views.structure import Difference, decoded, equal, patched
from turnlog.runtime.store.memory.log import MemoryLog

SESSION = session_id(1)


async def kept(play: Play) -> MemoryLog:
    log = MemoryLog()
    await keep(log, SESSION, play)
    return log


def readable(view: dict[str, Any]) -> dict[str, Any]:
    """Return a state's view with the conversation decoded, as changes of it are."""
    parts = [decoded(part) for part in view["history"]["parts"]]
    return {**view, "history": {"parts": parts}}


@given(sessions(most_facts=20), st.data())
async def test_a_state_is_the_fold_to_its_event_and_its_changes_lead_to_it(
    play: Play, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(play.records)))
    found = await state_at_event(await kept(play), SESSION, at)
    before, after = rebuild(play.records[: at - 1]), rebuild(play.records[:at])
    assert found.state == after
    assert found.recorded == play.records[at - 1]
    changed = patched(readable(state_view(before)), found.changes)
    assert equal(changed, readable(state_view(after)))


@given(sessions(most_facts=25))
async def test_each_request_is_the_one_that_the_log_says_was_sent(play: Play) -> None:
    log = await kept(play)
    for record in play.records:
        event = record.event
        if isinstance(event, ModelAsked):
            request = (await state_at_event(log, SESSION, record.sequence)).request
            assert request.status == "sent"
            assert request.recorded_digest == request.input_digest == event.input_digest
            assert len(request.input) == event.parts
            assert request.request is not None
            assert request.request.input == tuple(request.input)


TEXTS = st.lists(st.sampled_from(["a", "b", "ä"]), max_size=4)


@given(TEXTS, TEXTS, st.booleans())
def test_the_digest_of_a_request_is_chained_over_its_parts_whatever_it_begins_with(
    told: list[str], parts: list[str], continues: bool
) -> None:
    history = History()
    for number, part in enumerate(told):
        history.add(Part(part, (number, 0), MODEL))
    parts = told + parts if continues else parts
    digest = GENESIS
    for part in parts:
        digest = chain(digest, part.encode())
    assert input_digest(tuple(parts), history) == digest.hex()


async def last_of_each_kind(play: Play) -> dict[str, StateAt]:
    """Return the state at the last event of each kind."""
    log = await kept(play)
    return {
        record.kind: await state_at_event(log, SESSION, record.sequence) for record in play.records
    }


def worked() -> Play:
    play = Play.started()
    play.ask("look around")
    play.call("call-1")
    play.complete(TokenUsage(10, 4, 0, 2))
    play.start(0)
    return play


async def test_a_request_on_its_way_is_told_from_one_that_would_be_sent() -> None:
    found = await last_of_each_kind(worked())
    assert found["model_asked"].request.status == "sent"
    assert found["model_item_received"].request.status == "in_flight"
    assert found["model_item_received"].request.input == found["model_asked"].request.input
    started = found["tool_started"]
    assert started.request.status == "would_be_sent"
    assert started.request.input == model_input(started.state)
    assert "this was stopped while it was running" in started.request.input[-1]
    assert started.changes == [
        Difference(("turn", "calls", 0, "status"), "dispatched", "running"),
    ]


async def test_before_its_context_is_loaded_a_turn_has_no_whole_request() -> None:
    asked = (await last_of_each_kind(worked()))["context_asked"]
    assert (asked.request.request, asked.request.tools_json) == (None, None)
    assert asked.request.settings == asked.state.settings


async def test_a_turn_that_is_given_its_context_shows_no_other_changes() -> None:
    loaded = (await last_of_each_kind(worked()))["context_loaded"]
    assert [one.path for one in loaded.changes if one.path[0] == "turn"] == [
        ("turn", "owes_request"),
        ("turn", "settings"),
    ]


async def test_a_negative_sequence_counts_from_the_end() -> None:
    play = worked()
    log = await kept(play)
    last = len(play.records)
    assert (await state_at_event(log, SESSION, -1)).recorded == play.records[-1]
    assert (await state_at_event(log, SESSION, -last)).recorded == play.records[0]
    for outside in (0, last + 1, -last - 1):
        with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
            await state_at_event(log, SESSION, outside)


@attrs.define(eq=False)
class WatchedLog(MemoryLog):
    """A log that notes the event after which each read began."""

    reads: list[int] = attrs.field(factory=list[int], kw_only=True)

    async def read(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401
        self.reads.append(options["after"])
        return await MemoryLog.read(self, *words, **options)


async def with_snapshot(play: Play, at: int) -> WatchedLog:
    """Return a log of a session that has one snapshot, of its event `at`."""
    log = await kept(play)
    state = play.cut(at).state
    data = snapshot(state)
    assert data is not None
    log.store.find(SESSION).snapshots[at] = StoredSnapshot(at, state.digest, data)
    return WatchedLog(log.store)


def two_turns() -> Play:
    play = Play.started()
    for text in ("one", "two"):
        play.ask(text)
        play.complete()
    return play


async def test_a_snapshot_is_used_unless_it_is_later_than_the_event() -> None:
    play = two_turns()
    middle = play.ends[4]
    log = await with_snapshot(play, middle)
    for at, first in ((len(play.records), middle), (middle, 0)):
        log.reads.clear()
        found = await state_at_event(log, SESSION, at)
        assert found.state == rebuild(play.records[:at])
        assert log.reads[0] == first


async def test_the_input_of_the_model_is_folded_from_a_snapshot() -> None:
    play = two_turns()
    log = await with_snapshot(play, play.ends[4])
    assert await model_input_at(log, SESSION, -1) == model_input(play.state)
    assert log.reads == [play.ends[4]]
    with raises_code(ErrorCode.SEQUENCE_OUT_OF_RANGE):
        await model_input_at(log, SESSION, 0)


async def test_an_event_of_an_unknown_kind_changes_nothing_and_hides_nothing() -> None:
    play = worked()
    append_unknown(play)
    found = await state_at_event(await kept(play), SESSION, -1)
    assert found.recorded.kind == "unknown_4242"
    assert found.changes == []
    assert found.request.status == "would_be_sent"


def append_unknown(play: Play) -> None:
    """Append an event that a newer release wrote."""
    last = read_envelope(play.stored[-1].data)
    place = last.sequence + 1, last.time_us, 3, 4242, 1, last.turn
    data = msgspec.msgpack.encode(Envelope(99, *place, msgspec.Raw(b"\x90")))
    play.stored.append(Record(last.sequence + 1, chain(play.state.digest, data), data, {}))
