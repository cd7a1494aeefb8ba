"""The recorded sessions that are kept for ever, at hand for tests."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from turnlog.protocol.envelope import Recorded
from turnlog.replay.files.portable import PortableEvent, read_portable, write_portable

FOLDER: Final = Path(__file__).parent.parent / "data" / "sessions"
FILES: Final = sorted(FOLDER.glob("*.turnlog"))


def named(name: str) -> Path:
    return FOLDER / f"schema-1-rules-1-{name}.turnlog"


def events_of(path: Path) -> list[PortableEvent]:
    with path.open("rb") as stream:
        return list(read_portable(stream, name=path.name))


def records_of(path: Path) -> list[Recorded]:
    return [event.recorded for event in events_of(path)]


def written(records: Iterable[Recorded]) -> bytes:
    stream = io.StringIO()
    write_portable(records, stream)
    return stream.getvalue().encode()


def read(data: bytes) -> list[Recorded]:
    return list(read_portable(io.BytesIO(data)).recorded())


def exported(records: Iterable[Recorded]) -> bytes:
    """Return a session's file as it is exported again, by this release, after it was imported."""
    return written(read(written(records)))


def renumbered(records: Sequence[Recorded]) -> list[Recorded]:
    """Return `records` with dense sequences, as one who covers up a change would leave them."""
    return [structs.replace(record, sequence=at) for at, record in enumerate(records, 1)]
