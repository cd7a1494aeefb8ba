"""The examples on the page of file formats are what today's code makes of the same values."""

import io
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from turnlog.protocol import exec_lines
from turnlog.protocol.envelope import GENESIS, SCHEMA, Record, seal, unseal
from turnlog.protocol.events import TimerFired
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.files.portable import Header, event_line, write_lines
from turnlog.runtime.scripted_model.reading import parse_script
from turnlog.runtime.store.lmdb import keys

PAGE = (Path(__file__).parents[2] / "docs/reference/file-formats.md").read_text()
SESSION = SessionId("01900000-0000-7000-8000-000000000001")
TIME_US = 1_796_126_497_723_830


class Piece(NamedTuple):
    size: int
    meaning: str


# The envelope of `timer_fired`, from its first byte to its last.
PIECES = (
    Piece(1, "an array of 9"),
    Piece(1, f"schema {SCHEMA}"),
    Piece(1, "sequence 1"),
    Piece(9, "time"),
    Piece(1, "flags: a fact that every reader must know"),
    Piece(1, "kind 6, `timer_fired`"),
    Piece(1, "cause 0"),
    Piece(1, "turn 0"),
    Piece(1, "body: an array of 2"),
    Piece(1, "the kind's number again"),
    Piece(1, "a text of 9 bytes"),
    Piece(9, "`3.timer.0`"),
    Piece(1, "blobs: an array of 0"),
)


def timer_fired() -> Record:
    event = TimerFired(EffectId("3.timer.0"))
    return seal(event, sequence=1, time_us=TIME_US, cause=0, turn=0, previous=GENESIS)


def envelope_rows() -> str:
    data, rows = timer_fired().data, list[str]()
    for piece in PIECES:
        rows.append(f"| `{data[: piece.size].hex(' ')}` | {piece.meaning} |")
        data = data[piece.size :]
    assert data == b""
    return "\n".join(rows)


def portable_file() -> str:
    record, stream = timer_fired(), io.StringIO()
    header = Header(turnlog=1, session=SESSION, engine="0.1.0", schema=SCHEMA, events=0, digest="")
    recorded = unseal(record.data, record.digest, dict[bytes, bytes]().__getitem__)
    write_lines(header, [event_line(recorded)], stream)
    return stream.getvalue()


def lines_of_exec() -> str:
    said = exec_lines.AgentMessage("item_0", "agent_message", "Done.")
    lines: tuple[exec_lines.Line, ...] = (
        exec_lines.ThreadStarted(SESSION),
        exec_lines.TurnStarted(),
        exec_lines.ItemCompleted(exec_lines.encode_item(said)),
        exec_lines.TurnCompleted(TokenUsage(100, 40, 10, 3)),
    )
    return b"".join(map(exec_lines.encode_line, lines)).decode()


def examples() -> dict[str, str]:
    """Return what the page has to show, by what it is."""
    key = keys.session_key(SESSION)
    header, line = portable_file().splitlines()
    return {
        "key of an event": f"`{key.hex()}` `{keys.event_key(key, 5)[16:].hex()}`",
        "key of a recent session": f"`{keys.recent_key(TIME_US, key)[:8].hex()}` `{key.hex()}`",
        "key of an op": f"`{key.hex()}` `{keys.inbox_key(key, 'op-1')[16:].hex()}`",
        "envelope": f"\n{timer_fired().data.hex(' ')}\n",
        "envelope, explained": envelope_rows(),
        "digest": f"`{timer_fired().digest.hex()}`",
        "header of a portable file": f"\n{header}\n",
        "line of a portable file": f"\n{line}\n",
        "lines of exec": f"\n{lines_of_exec()}",
    }


@pytest.mark.parametrize("what", examples())
def test_the_page_shows_the_bytes_that_the_code_makes(what: str) -> None:
    assert examples()[what] in PAGE


def test_the_script_on_the_page_is_one() -> None:
    begin = PAGE.index('{"responses"')
    text = PAGE[begin : PAGE.index("```", begin)]
    assert len(msgspec.json.decode(text)["responses"]) == len(
        parse_script(text.encode(), "script.json").responses
    )
