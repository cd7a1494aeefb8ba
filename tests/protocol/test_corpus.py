"""Old logs stay readable for ever: events that were frozen must decode as they did then."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from msgspec import structs

from turnlog.protocol.envelope import (
    GENESIS,
    KIND_NAMES,
    SCHEMA,
    Recorded,
    UnknownEvent,
    chain,
    unseal,
)
from turnlog.protocol.events import OpReceived
from turnlog.protocol.ops import Op, op_name
from turnlog.protocol.view import event_object

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
LOGS: dict[str, list[dict[str, Any]]] = {
    file.stem: [json.loads(line) for line in file.read_text().splitlines()]
    for file in sorted(CORPUS.glob("schema-*.jsonl"))
}
LINES = [(log, line) for log, lines in LOGS.items() for line in lines]


def read(line: dict[str, Any]) -> Recorded:
    blobs = {bytes.fromhex(digest): text.encode() for digest, text in line["blobs"].items()}
    return unseal(bytes.fromhex(line["envelope"]), bytes.fromhex(line["digest"]), blobs.__getitem__)


def frozen_part(shown: object, frozen: object) -> object:
    """Return `shown` without the fields that did not exist when `frozen` was written."""
    match shown, frozen:
        case dict(), dict():
            there = cast(dict[str, Any], shown)
            pairs = cast(dict[str, Any], frozen).items()
            return {key: frozen_part(there.get(key), value) for key, value in pairs}
        case list(), list():
            both = zip_longest(cast(list[object], shown), cast(list[object], frozen))
            return [frozen_part(one, other) for one, other in both]
        case _:
            return shown


@pytest.mark.parametrize(
    "line",
    [line for _, line in LINES],
    ids=[f"{log}-{line['sequence']}-{line['kind']}" for log, line in LINES],
)
def test_a_frozen_event_decodes_to_what_it_was(line: dict[str, Any]) -> None:
    recorded = read(line)
    assert (recorded.sequence, recorded.kind) == (line["sequence"], line["kind"])
    assert (recorded.role, recorded.time_us) == (line["role"], line["time_us"])
    assert (recorded.cause, recorded.turn) == (line["cause"], line["turn"])
    shown = event_object(recorded.event)
    assert frozen_part(shown, line["event"]) == line["event"]
    if isinstance(recorded.event, UnknownEvent):
        return
    for field in structs.fields(type(recorded.event)):  # what was appended since
        name = field.name.removesuffix("_json")
        assert name in line["event"] or getattr(recorded.event, field.name) == field.default


@pytest.mark.parametrize("log", LOGS)
def test_the_frozen_events_are_one_chain(log: str) -> None:
    digest = GENESIS
    for line in LOGS[log]:
        digest = chain(digest, bytes.fromhex(line["envelope"]))
        assert digest.hex() == line["digest"]


def test_the_corpus_holds_every_kind_of_event_and_of_op() -> None:
    newest = LOGS[f"schema-{SCHEMA}"]
    assert {line["kind"] for line in newest} >= set(KIND_NAMES.values()) | {"unknown_999"}
    events = [read(line).event for line in newest]
    ops = {op_name(event.op) for event in events if isinstance(event, OpReceived)}
    assert ops == {kind.__struct_config__.tag for kind in get_args(Op)}
