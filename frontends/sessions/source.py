"""What a user names: a session of the store by its id, or a file that `turnlog export` wrote."""

from pathlib import Path

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.portable import SUFFIX, read_portable
from turnlog.replay.verify.files import unreadable


def names_file(what: str) -> bool:
    """Say whether it is a file: there is one, or this looks like no id."""
    path = Path(what)
    return path.is_file() or path.suffix == SUFFIX or path.name != what


def read_file(name: str) -> tuple[SessionId, list[Recorded]]:
    """Return a file's session and its events, from the first one on.

    Raises:
        UsageError: it cannot be read.
        FileInvalid: it is damaged, or no such file.
        StoreTooNew: a newer release wrote it.
    """
    path = Path(name)
    try:
        with path.open("rb") as stream:
            reader = read_portable(stream, name=name)
            return reader.header.session, list(reader.recorded())
    except OSError as error:
        raise unreadable(path, error) from None
