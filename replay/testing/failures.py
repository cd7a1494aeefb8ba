"""Failing sessions, kept as ordinary logs: each test has a store of its own."""

import io
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import NotFound
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.loading import load_portable
from turnlog.replay.files.portable import read_portable, write_portable
from turnlog.runtime.config.home import STORE_FOLDER
from turnlog.runtime.private_files import make_private_folder
from turnlog.runtime.store.lmdb.log import open_log

FAILURES: Final = Path(".turnlog-failures")  # below the current folder; git ignores it


def save_records(name: str, records: Iterable[Recorded], *, folder: Path = FAILURES) -> str:
    """Write a session to the store of the test `name`, in place of what failed there before.

    Not for use inside of a trio program. Returns lines that say where it is, and how to see it.
    """
    home = folder / name
    make_private_folder(home)
    (folder / ".gitignore").write_text("*\n")
    text = io.StringIO()
    header = write_portable(records, text)
    trio.run(_write, home / STORE_FOLDER, header.session, text.getvalue().encode())
    return (
        f"The failing session, {header.events} events, is kept. Look at it with:\n"
        f"    TURNLOG_HOME={shlex.quote(str(home.absolute()))} turnlog show {header.session}"
    )


async def _write(store: Path, session: SessionId, portable: bytes) -> None:
    async with open_log(store) as log:
        for failed_before in await log.sessions():
            with suppress(NotFound):
                await log.delete(failed_before.session)
        await load_portable(log, read_portable(portable.splitlines(keepends=True)))
