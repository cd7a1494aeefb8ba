"""How events stand in the log: whole, small, chained, and readable by older and newer releases."""

from collections.abc import Mapping
from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from tests.core.play import Play
from tests.strategies import events, facts, sessions
from turnlog.protocol import envelope, items, ops, settings
from turnlog.protocol.envelope import (
    BLOB_THRESHOLD,
    EVENT_TYPES,
    GENESIS,
    KIND_NAMES,
    SCHEMA,
    EncodedEvent,
    Envelope,
    Record,
    Recorded,
    Role,
    UnknownEvent,
    chain,
    decode_event,
    decode_fact,
    encode_event,
    read_envelope,
    require_known,
    seal,
    unseal,
)
from turnlog.protocol.errors import StoreTooNew
from turnlog.protocol.events import (
    Closes,
    ClosingFact,
    Decision,
    EffectLost,
    Fact,
    OpeningDecision,
    Opens,
    SessionClosed,
    SessionEvent,
    SessionFact,
    StepFailed,
    TimerFired,
    ToolFinished,
    TurnEnded,
)
from turnlog.protocol.ids import EffectId

SPARSE = [
    struct
    for module in (items, ops, settings)
    for struct in vars(module).values()
    if isinstance(struct, type)
    and issubclass(struct, Struct)
    and struct.__struct_config__.omit_defaults
]
EFFECT = EffectId("7.tool.0")
NO_BLOBS: dict[bytes, bytes] = {}
LARGE = "ü" * BLOB_THRESHOLD  # twice that many bytes


@pytest.mark.parametrize("struct", SPARSE, ids=lambda struct: struct.__name__)
def test_a_field_that_is_left_out_leaves_no_trace(struct: type[Struct]) -> None:
    # With 16 keys or more, the header says how many there could have been.
    assert len(struct.__struct_fields__) + (struct.__struct_config__.tag is not None) <= 15


def sealed(event: SessionEvent, *, sequence: int = 1, previous: bytes = GENESIS) -> Record:
    return seal(event, sequence=sequence, time_us=17, cause=0, turn=3, previous=previous)


def read(record: Record, blobs: Mapping[bytes, bytes] | None = None) -> Recorded:
    return unseal(record.data, record.digest, (blobs or record.blobs).__getitem__)


@given(events())
def test_an_event_comes_back_from_the_log_as_it_was(event: SessionEvent) -> None:
    record = sealed(event)
    role: Role = "decision" if isinstance(event, Decision) else "fact"
    assert read(record) == Recorded(1, 17, role, 0, 3, record.digest, event)
    assert decode_event(encode_event(event)) == event


@given(facts())
def test_a_fact_s_message_bytes_are_the_log_s_bytes(fact: SessionFact) -> None:
    message = encode_event(fact)
    assert decode_fact(message) == fact
    kept = seal(fact, sequence=1, time_us=17, cause=0, turn=3, previous=GENESIS, encoded=message)
    assert kept == sealed(fact)
    assert bytes(read_envelope(kept.data).body) == message.body


def test_a_decision_is_no_message() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_fact(encode_event(EffectLost(EFFECT)))


@given(events())
def test_the_envelope_decodes_without_the_event(event: SessionEvent) -> None:
    head = read_envelope(sealed(event, sequence=9).data)
    kind = type(event)
    assert (head.schema, head.sequence, head.time_us, head.cause, head.turn) == (
        SCHEMA,
        9,
        17,
        0,
        3,
    )
    assert EVENT_TYPES[head.kind] is kind
    assert (head.flags & 1, head.flags >> 1) == (isinstance(event, Decision), kind.ignorable)


# --- large texts ----------------------------------------------------------------------------------


def test_a_large_text_is_stored_once_and_put_back() -> None:
    event = ToolFinished(EFFECT, "done", LARGE, LARGE)
    record = sealed(event)
    assert len(record.data) < 200
    assert list(record.blobs.values()) == [LARGE.encode()]
    assert read(record) == read(sealed(event))
    assert read(record).event == event


def test_equal_texts_of_two_events_are_one_blob() -> None:
    first = sealed(ToolFinished(EFFECT, "done", "a", LARGE))
    second = sealed(ToolFinished(EFFECT, "failed", "b", LARGE))
    assert first.blobs == second.blobs


@given(st.integers(BLOB_THRESHOLD - 2, BLOB_THRESHOLD + 2))
def test_a_text_is_cut_out_above_the_threshold_and_not_at_it(length: int) -> None:
    record = sealed(StepFailed("x" * length))
    assert len(record.blobs) == (length > BLOB_THRESHOLD)
    assert read(record).event == StepFailed("x" * length)


def test_a_blob_that_is_gone_is_noticed() -> None:
    record = sealed(StepFailed(LARGE))
    with pytest.raises(KeyError):
        unseal(record.data, record.digest, NO_BLOBS.__getitem__)


# --- the chain ------------------------------------------------------------------------------------


@given(sessions(most_facts=10), st.data())
def test_the_chain_notices_any_changed_byte(play: Play, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(play.stored) - 1))
    record = play.stored[at]
    place = data.draw(st.integers(0, len(record.data) - 1))
    change = data.draw(st.integers(1, 255))
    damaged = bytearray(record.data)
    damaged[place] ^= change
    previous = play.stored[at - 1].digest if at else GENESIS
    assert chain(previous, record.data) == record.digest
    assert chain(previous, bytes(damaged)) != record.digest


@given(sessions(most_facts=10))
def test_equal_prefixes_have_equal_digests_and_different_ones_never(play: Play) -> None:
    digest, seen = GENESIS, {GENESIS}
    for record in play.stored:
        digest = chain(digest, record.data)
        assert digest == record.digest
        assert digest not in seen
        seen.add(digest)


# --- other releases -------------------------------------------------------------------------------


def record_of(kind: int, body: bytes, *, schema: int = SCHEMA, flags: int = 0) -> Record:
    data = msgspec.msgpack.encode(
        Envelope(schema, 1, 17, flags, kind, 0, 0, Raw(body), (b"d" * 32,))
    )
    return Record(1, chain(GENESIS, data), data, {})


@given(st.integers(1000, 2**31), st.booleans(), st.booleans(), st.binary(max_size=50))
def test_an_unknown_kind_is_kept_verbatim(
    kind: int, decision: bool, ignorable: bool, content: bytes
) -> None:
    body = msgspec.msgpack.encode([kind, content])
    recorded = read(record_of(kind, body, flags=decision | ignorable << 1))
    assert recorded.event == UnknownEvent(kind, ignorable, body, (b"d" * 32,))
    assert recorded.role == ("decision" if decision else "fact")
    assert recorded.kind == f"unknown_{kind}"


def test_a_known_kind_of_a_newer_schema_is_not_guessed_at() -> None:
    body = msgspec.msgpack.encode([6, "7.timer.0"])
    recorded = read(record_of(6, body, schema=SCHEMA + 1))
    assert recorded.event == UnknownEvent(6, False, body, (b"d" * 32,))


def test_only_ignorable_unknown_events_may_be_gone_on_from() -> None:
    body = msgspec.msgpack.encode([999])
    require_known([read(sealed(SessionClosed())), read(record_of(999, body, flags=2))])
    with pytest.raises(StoreTooNew):
        require_known([read(record_of(999, body))])


def test_fields_that_a_newer_release_appended_are_passed_over() -> None:
    body = msgspec.msgpack.encode([6, "7.timer.0", "a newer field", {"and": "more"}])
    record = record_of(6, body)
    blobs = {b"d" * 32: b""}
    assert read(record, blobs).event == TimerFired(EffectId("7.timer.0"))


def test_fields_that_an_older_release_did_not_write_get_their_defaults() -> None:
    body = msgspec.msgpack.encode([112, 1, "turn-id", "completed"])
    ended = read(record_of(112, body), {b"d" * 32: b""}).event
    assert isinstance(ended, TurnEnded)
    assert (ended.last_agent_message, ended.error) == (None, None)


def test_an_old_event_is_brought_up_one_schema_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "SCHEMA", 1)
    record = sealed(StepFailed(LARGE))
    monkeypatch.setattr(envelope, "SCHEMA", 3)

    def upcast(suffix: str) -> envelope.Upcaster:
        return lambda body: [body[0], str(body[1])[-3:] + suffix]

    for schema, suffix in ((1, "a"), (2, "b")):
        monkeypatch.setitem(envelope.UPCASTERS, (schema, 114), upcast(suffix))
    assert read(record).event == StepFailed("üüab")
    assert read(sealed(StepFailed("new"))).event == StepFailed("new")
    assert read(
        record_of(6, msgspec.msgpack.encode([6, "7.timer.0"]), schema=1), {b"d" * 32: b""}
    ).event == TimerFired(EffectId("7.timer.0"))  # nothing to do for this kind


@given(st.binary(max_size=60))
def test_bytes_that_are_no_event_are_a_clear_error(data: bytes) -> None:
    with suppress(msgspec.MsgspecError, KeyError):
        unseal(data, GENESIS, NO_BLOBS.__getitem__)


# --- the vocabulary -------------------------------------------------------------------------------


def test_every_kind_has_a_tag_and_a_name_of_its_own() -> None:
    names = list(KIND_NAMES.values())
    assert len(EVENT_TYPES) == len(set(names)) == len(names)
    assert KIND_NAMES[TurnEnded] == "turn_ended"
    bases = (Fact, Closes, Decision, Opens)
    declared = {kind for base in bases for kind in base.__subclasses__()} - set(bases)
    assert declared == set(EVENT_TYPES.values())


def test_the_base_of_an_event_says_whether_it_opens_or_closes_an_effect() -> None:
    assert set(get_args(OpeningDecision)) == set(Opens.__subclasses__())
    assert set(get_args(ClosingFact)) == set(Closes.__subclasses__())


def test_the_effect_is_the_first_field_of_what_opens_or_closes_it() -> None:
    kinds = (*Opens.__subclasses__(), *Closes.__subclasses__())
    assert {kind.__struct_fields__[0] for kind in kinds} == {"effect"}


def test_facts_are_numbered_below_a_hundred_and_decisions_above() -> None:
    assert {tag > 100 for tag, kind in EVENT_TYPES.items() if issubclass(kind, Decision)} == {True}
    assert {tag < 100 for tag, kind in EVENT_TYPES.items() if not issubclass(kind, Decision)} == {
        True
    }


def test_an_encoded_event_is_small() -> None:
    assert encode_event(EffectLost(EFFECT)) == EncodedEvent(b"\x92q\xa87.tool.0", {})
