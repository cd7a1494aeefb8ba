"""The portable file: exact both ways, self-contained, and honest about damage."""

import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.play import SESSION, SETTINGS, Play, function_call
from tests.errors import raises_code
from tests.replay.recordings import FILES, records_of
from tests.strategies import events as any_event
from tests.strategies import sessions
from turnlog.protocol.calls import ContextFragment, ToolPlan
from turnlog.protocol.envelope import (
    GENESIS,
    SCHEMA,
    Recorded,
    UnknownEvent,
    reseal,
    seal,
    unseal,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import FileInvalid, StoreTooNew
from turnlog.protocol.events import (
    Decision,
    ModelItemReceived,
    OpReceived,
    SessionEvent,
    SessionForked,
    SessionStarted,
    ToolFinished,
)
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.loading import load_portable
from turnlog.replay.files.portable import (
    PortableReader,
    is_portable,
    read_portable,
    write_portable,
)
from turnlog.replay.files.redact import redact
from turnlog.replay.verify.verifier import divergences
from turnlog.runtime.store.memory.log import MemoryLog

COPY = SessionId("01900000-0000-7000-8000-0000000000ff")


def written(records: Iterable[Recorded], *, redacted: bool = False) -> str:
    stream = io.StringIO()
    write_portable(records, stream, redacted=redacted)
    return stream.getvalue()


def reader(text: str) -> PortableReader:
    return read_portable(io.BytesIO(text.encode()), name="a.turnlog")


def read(text: str) -> list[Recorded]:
    return list(reader(text).recorded())


def asked() -> Play:
    play = Play.started()
    play.ask("hi")
    play.complete()
    return play


def resealed(records: Sequence[Recorded]) -> list[Recorded]:
    """Return a log as its events are encoded today: what was an int in a float's field is none."""
    again, digest = list[Recorded](), GENESIS
    for record in records:
        digest = reseal(record, previous=digest).digest
        again.append(structs.replace(record, digest=digest))
    return again


def chained(drawn: Sequence[SessionEvent]) -> list[Recorded]:
    """Return any events as a log holds them, after one that says which session this is."""
    first = SessionStarted(SESSION, SETTINGS, "test", "0")
    records, digest = list[Recorded](), GENESIS
    for sequence, event in enumerate((first, *drawn), 1):
        decided = isinstance(event, Decision)
        record = seal(
            event,
            sequence=sequence,
            time_us=sequence,
            cause=1 if decided else 0,
            turn=sequence % 3,
            previous=digest,
        )
        digest = record.digest
        records.append(unseal(record.data, digest, record.blobs.__getitem__))
    return records


# --- round trips ------------------------------------------------------------------------------


@given(sessions())
def test_a_session_comes_back_as_it_was(play: Play) -> None:
    assume(play.records)
    records = resealed(play.records)
    assert read(written(records)) == records


@given(st.lists(any_event(), max_size=8))
def test_any_event_comes_back_as_it_was(drawn: list[SessionEvent]) -> None:
    records = chained(drawn)
    assert read(written(records)) == records


def test_a_large_text_comes_back_with_the_digest_that_it_had_in_its_store() -> None:
    play = Play.started()
    play.ask("x" * 10_000)
    play.item(function_call("c1"), ToolPlan("exec_command"))
    play.complete()
    play.finish(0, "\u2028 line\r\n" * 5_000)
    assert play.blobs
    assert read(written(play.records)) == play.records


def test_the_bytes_for_a_store_are_those_that_were_stored() -> None:
    play = asked()
    assert [event.record for event in reader(written(play.records))] == play.stored


def test_an_unknown_event_comes_back_verbatim() -> None:
    play = asked()
    last = play.records[-1]
    unknown = UnknownEvent(999, True, b"\x93\xcd\x03\xe7\xa1x\xc4\x02\x00\xff", (bytes(32),))
    newer = Recorded(last.sequence + 1, last.time_us, "decision", 7, 0, bytes(16), unknown)
    *known, found = read(written([*play.records, newer]))
    assert known == play.records
    assert structs.replace(found, digest=bytes(16)) == newer


def test_a_kind_that_a_newer_release_named_is_kept() -> None:
    head, *lines = written(asked().records).splitlines()
    newer = json.loads(lines[-1]) | {"tag": 999, "kind": "newer", "event": {"a": 1, "b": ["x"]}}
    newer["ignorable"] = True
    damaged = reader("\n".join([head, *lines[:-1], json.dumps(newer)]) + "\n")
    found = list[Recorded]()
    with pytest.raises(FileInvalid, match="digest"):  # since the head was not made again
        found += damaged.recorded()
    found = _until_damage(reader("\n".join([head, *lines[:-1], json.dumps(newer)]) + "\n"))
    assert found[-1].event == UnknownEvent(999, True, msgspec.msgpack.encode([999, 1, ["x"]]))


def _until_damage(damaged: PortableReader) -> list[Recorded]:
    found = list[Recorded]()
    try:
        for recorded in damaged.recorded():
            found.append(recorded)
    except FileInvalid:
        pass
    return found


def test_a_field_that_was_appended_since_leaves_an_old_files_digest_as_it_is() -> None:
    """A log of before the last field of an event: its array is shorter, and so are its bytes."""
    head, *lines = written(asked().records).splitlines()
    opened = json.loads(lines[1])
    name, _ = opened["event"].popitem()
    old = "\n".join([head, lines[0], json.dumps(opened), *lines[2:]]) + "\n"
    with pytest.raises(FileInvalid) as caught:
        read(old)
    digest = re.search(r"digest is (\w+)", str(caught.value))
    assert digest is not None
    header = json.loads(head) | {"digest": digest[1]}
    found = read(old.replace(head, json.dumps(header)))
    events = asked().events
    default = next(f.default for f in structs.fields(type(events[1])) if f.name == name)
    events[1] = structs.replace(events[1], **{name: default})
    assert [record.event for record in found] == events
    assert found[-1].digest.hex() == digest[1]


# --- the file ---------------------------------------------------------------------------------


def test_the_file_reads_as_a_header_and_one_line_for_each_event() -> None:
    play = Play.started()
    lines = [json.loads(line) for line in written(play.records).splitlines()]
    first, second = play.events
    assert lines == [
        {
            "turnlog": 1,
            "session": SESSION,
            "engine": "0.1.0",
            "schema": SCHEMA,
            "events": 2,
            "digest": play.records[-1].digest.hex(),
        },
        {
            "sequence": 1,
            "time_us": play.records[0].time_us,
            "role": "fact",
            "cause": 0,
            "turn": 0,
            "kind": "session_started",
            "tag": 1,
            "event": by_name(first),
        },
        {
            "sequence": 2,
            "time_us": play.records[1].time_us,
            "role": "fact",
            "cause": 0,
            "turn": 0,
            "kind": "session_opened",
            "tag": 3,
            "event": by_name(second),
        },
    ]
    assert lines[1]["event"]["settings"]["cwd"] == "/work"


def by_name(event: SessionEvent) -> object:
    fields = {name: getattr(event, name) for name in event.__struct_encode_fields__}
    return json.loads(msgspec.json.encode(fields))


def test_a_forks_file_holds_its_parents_events_and_names_the_cut() -> None:
    play = asked()
    cut = play.state.head
    play.fork()
    header = reader(written(play.records)).header
    assert (header.session, header.parent, header.cut) == (f"{SESSION}/fork-{cut}", SESSION, cut)
    assert header.events == len(play.records)


def test_a_file_is_known_by_its_content() -> None:
    first, second, *_ = written(asked().records).encode().splitlines()
    assert is_portable(first)
    assert not is_portable(second)
    assert not is_portable(b"")
    assert not is_portable(b"\x7fELF")
    assert not is_portable(b'{"timestamp":"2026-01-01","type":"session_meta","payload":{}}')


# --- damage -----------------------------------------------------------------------------------


def damage(text: str) -> tuple[int, str, int]:
    """Return the line, the flaw, and how many events precede it."""
    found = 0
    with pytest.raises(FileInvalid) as caught:  # noqa: PT012
        for _ in reader(text):
            found += 1
    assert caught.value.code == "portable_invalid"
    assert str(caught.value).startswith(f"a.turnlog, line {caught.value.line}: ")
    return caught.value.line, caught.value.flaw, found


def test_damage_is_found_at_its_line_and_what_precedes_it_is_read() -> None:
    text = written(asked().records)
    lines = text.splitlines(keepends=True)
    count = len(lines) - 1

    def changed(number: int, *, to: str) -> str:
        return "".join([*lines[: number - 1], to, *lines[number:]])

    version = lines[0].replace('"turnlog":1', '"turnlog":2')
    older = re.sub(r'"time_us":\d+', '"time_us":1', lines[2])
    broken = lines[3].replace('"op_id"', '"op_id":7,"x"')
    role = lines[3].replace('"role":"fact"', '"role":"decision"')
    assert damage("") == (1, "empty", 0)
    assert damage("hello\n") == (1, "header", 0)
    assert damage(changed(1, to='{"turnlog":1}\n')) == (1, "header", 0)
    assert damage(changed(1, to=version)) == (
        1,
        "version",
        0,
    )
    assert damage(text[:-9]) == (count + 1, "torn", count - 1)
    assert damage("".join(lines[:-1])) == (count + 1, "torn", count - 1)
    assert damage(changed(4, to="{]\n")) == (4, "json", 2)
    assert damage(changed(4, to="\xff\n")) == (4, "json", 2)
    assert damage(changed(4, to="")) == (4, "order", 2)
    assert damage(changed(4, to=lines[2])) == (4, "order", 2)
    assert damage(changed(4, to=role)) == (4, "event", 2)
    assert damage(changed(4, to=broken)) == (4, "event", 2)
    assert damage(changed(3, to=older)) == (
        3,
        "time",
        1,
    )
    assert damage(text.replace('"hi"', '"ho"')) == (1, "digest", count)
    assert damage(changed(1, to=lines[0].replace(f":{count},", f":{count - 1},"))) == (
        count + 1,
        "count",
        count,
    )


def test_a_file_of_a_later_schema_is_refused() -> None:
    text = written(asked().records).replace(f'"schema":{SCHEMA}', f'"schema":{SCHEMA + 1}')
    with pytest.raises(StoreTooNew):
        reader(text)


@given(sessions(), st.data())
def test_a_file_that_was_cut_anywhere_is_never_taken_for_whole(
    play: Play, data: st.DataObject
) -> None:
    assume(play.records)
    text = written(play.records).encode()
    cut = text[: data.draw(st.integers(0, len(text) - 2))]  # without the last line feed it is whole
    found = list[Recorded]()
    with pytest.raises(FileInvalid):  # noqa: PT012
        for recorded in read_portable(io.BytesIO(cut)).recorded():
            found.append(recorded)
    assert [record.event for record in found] == play.events[: len(found)]


# --- into a store -----------------------------------------------------------------------------


async def test_a_file_becomes_a_session_of_its_own_id() -> None:
    play, log = asked(), MemoryLog()
    assert await load_portable(log, reader(written(play.records))) == SESSION
    assert await log.read(SESSION) == play.records
    assert await log.sessions() == [play.state.summary]
    claim = await log.claim(SESSION)  # nobody holds it
    assert claim.head.digest == play.records[-1].digest


async def test_a_session_that_is_there_already_is_left_alone() -> None:
    play, log = asked(), MemoryLog()
    await load_portable(log, reader(written(play.records)))
    with raises_code(ErrorCode.SESSION_EXISTS):
        await load_portable(log, reader(written(play.records[:3])))
    assert await log.read(SESSION) == play.records


async def test_a_copy_under_a_new_id_is_a_fork_at_the_end() -> None:
    play, log = asked(), MemoryLog()
    await load_portable(log, reader(written(play.records)))
    assert await load_portable(log, reader(written(play.records)), new_id=COPY) == COPY
    *before, forked = await log.read(COPY)
    head = len(play.records)
    digest = play.records[-1].digest.hex()
    assert before == play.records
    assert forked.event == SessionForked(COPY, SESSION, head, digest, "0.1.0")
    assert list(divergences([*before, forked])) == []
    summary = next(row for row in await log.sessions() if row.session == COPY)
    assert (summary.parent, summary.cut, summary.turns) == (SESSION, head, 1)


async def test_what_was_open_is_closed_in_a_copy() -> None:
    play, log = Play.started(), MemoryLog()
    play.ask("hi")
    await load_portable(log, reader(written(play.records)), new_id=COPY)
    records = await log.read(COPY)
    assert [record.kind for record in records[len(play.records) :]] == [
        "session_forked",
        "effect_lost",
        "turn_stopping",
        "items_recorded",
        "turn_ended",
    ]
    assert list(divergences(records)) == []


async def test_of_a_damaged_file_nothing_is_stored() -> None:
    log = MemoryLog()
    with pytest.raises(FileInvalid):
        await load_portable(log, reader(written(asked().records)[:-20]))
    assert await log.sessions() == []


async def test_a_load_that_fails_half_way_leaves_nothing() -> None:
    log = MemoryLog()
    log.refuse_next("the disk is full")
    with pytest.raises(Exception, match="the disk is full"):
        await load_portable(log, reader(written(asked().records)))
    assert await log.sessions() == []


# --- redaction --------------------------------------------------------------------------------


def secretive() -> Play:
    play = Play.started()
    play.say('my key is "sk-123", and sk-456')
    play.load([ContextFragment("agents", "user", "use sk-123")])
    arguments = '{"type":"function_call","name":"exec_command","call_id":"c1",'
    arguments += '"arguments":"{\\"cmd\\":\\"curl -H sk-123\\"}"}'
    play.item(arguments, ToolPlan("exec_command"))
    play.complete()
    play.finish(0, "sk-456 sk-123")
    play.complete()
    return play


def test_equal_secrets_get_equal_stand_ins_and_the_session_still_replays() -> None:
    play = secretive()
    redacted = list(redact(play.records, [re.compile(r"sk-\d+")]))
    text = written(redacted, redacted=True)
    assert "sk-" not in text
    found = reader(text)
    assert found.header.redacted
    assert found.header.origin_digest is None
    records = list(found.recorded())
    assert records == redacted
    assert list(divergences(records)) == []
    assert [record.event for record in records if isinstance(record.event, ToolFinished)] == [
        ToolFinished("5.tool.0", "done", "", "[redacted-2] [redacted-1]")  # type: ignore[arg-type]
    ]
    said = next(record.event for record in records if isinstance(record.event, OpReceived))
    assert 'my key is "[redacted-1]", and [redacted-2]' in str(said.op)
    called = [r.event.item_json for r in records if isinstance(r.event, ModelItemReceived)]
    assert "curl -H [redacted-1]" in called[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_redacted_session_replays_as_the_original_does(path: Path) -> None:
    records = records_of(path)
    patterns = [re.compile(r"/tmp/[\w-]+"), re.compile("ran|hello|user|waiting|turn|stop")]
    redacted = list(redact(records, patterns))
    assert "/tmp/turnlog" in str(records)
    assert "/tmp/turnlog" not in str(redacted)
    assert list(divergences(redacted)) == []
    assert [record.kind for record in redacted] == [record.kind for record in records]


def test_without_a_match_nothing_changes() -> None:
    play = secretive()
    assert list(redact(play.records, [re.compile("nowhere")])) == play.records


def test_a_difference_is_not_hidden_by_redaction() -> None:
    play = secretive()
    at = next(i for i, record in enumerate(play.records) if record.kind == "model_asked")
    wrong = structs.replace(play.events[at], input_digest="00" * 16)
    play.records[at] = structs.replace(play.records[at], event=wrong)
    (found,) = divergences(redact(play.records, [re.compile(r"sk-\d+")]))
    assert found.sequence == at + 1


def test_words_of_a_fixed_set_and_names_that_turnlog_gave_are_no_texts() -> None:
    patterns = [re.compile(r"read-only|done|\d+\.tool\.\d+|0190\S*")]
    assert list(redact(secretive().records, patterns)) == secretive().records
