"""Replaying portable files: one, or a folder of them; and accepting what was meant to change."""

import errno
import io
import os
import tempfile
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from msgspec import structs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import FileInvalid, StoreTooNew, UsageError, event_not_found
from turnlog.replay.files.portable import SUFFIX, is_portable, read_portable, write_lines
from turnlog.replay.verify.accept import refused, rerecord
from turnlog.replay.verify.report import ReplayReport, replay
from turnlog.replay.verify.verdict import Verdict, failed, verdict_of
from turnlog.replay.verify.workers import in_processes

_HEADER_BYTES: Final = 64 * 1024  # that are read of a file to see what it is
_WORTH_PROCESSES: Final = 4_000_000  # bytes; less is done before a process has started


def is_portable_file(path: Path) -> bool:
    """Say whether a file claims to hold a portable session, by its name or its first line.

    One that cannot be read counts as one: whoever opens it will be told.
    """
    if path.suffix == SUFFIX:
        return True
    try:
        with path.open("rb") as stream:
            return is_portable(stream.readline(_HEADER_BYTES))
    except OSError:
        return True


def portable_files(folder: Path) -> list[Path]:
    """Return the portable files below a folder, in order.

    Hidden files and folders are left out: a file that is being written is hidden, too.

    Raises:
        UsageError: it is no folder, or it or one below it cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"{folder} is no folder. Give one that holds exported sessions; `turnlog replay FILE` "
            "replays one.",
        )
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(place, name) for name in names if not name.startswith("."))
        found += (path for path in paths if _is_wanted(path))
    return sorted(found)


def _is_wanted(path: Path) -> bool:
    """Say whether a file is to be replayed. A link to one that is gone is: it must be missed."""
    lost = path.suffix == SUFFIX and path.is_symlink() and not path.exists()
    return lost or (path.is_file() and is_portable_file(path))


def replay_file(path: Path, *, start: int = 1) -> ReplayReport:
    """Replay a portable file.

    Args:
        start: sequence from which on divergences are reported.

    Raises:
        UsageError: it cannot be read.
        FileInvalid: it does not begin with a header; what is wrong after that is reported.
        StoreTooNew: a newer release wrote it.
        NotFound: it has no event `start`.
    """
    try:
        with path.open("rb") as stream:
            reader = read_portable(stream, name=str(path))
            report = replay(reader.header.session, reader.recorded(), start=start)
    except OSError as error:
        raise unreadable(path, error) from None
    if start > max(report.events, 1) and report.damage is None:
        raise event_not_found(start, report.events)
    return report


def check_file(path: Path, *, accept: bool = False) -> Verdict:
    """Replay a portable file, and say what came of it. Never raises for what is in it.

    Args:
        accept: record today's decisions in the file, where they differ.
    """
    name = str(path)
    try:
        verdict = verdict_of(name, replay_file(path))
        if verdict.status != "different" or not accept:
            return verdict
        try:
            accept_file(path)
        except FileInvalid:
            raise
        except UsageError as error:
            is_refused = error.code == str(ErrorCode.RERECORDING_REFUSED)
            status = verdict.status if is_refused else "error"
            return structs.replace(verdict, status=status, code=error.code, message=str(error))
        return structs.replace(verdict, status="accepted")
    except FileInvalid as error:
        return Verdict(name, "damaged", code=error.code, message=str(error))
    except (UsageError, StoreTooNew) as error:
        return failed(name, error)


def accept_file(path: Path) -> None:
    """Record today's decisions in a portable file, in place of those that stand there.

    The file is replaced as a whole, or left alone; what may not be written to is left alone, too.
    What did not change keeps its line.

    Raises:
        UsageError: today's decisions do not fit the recorded facts.
        FileInvalid, StoreTooNew: it cannot be read as it should be.
        UsageError: it cannot be read, or not be written.
    """
    try:
        with path.open("rb") as stream:
            reader = read_portable(stream, name=str(path))
            header, lines = rerecord(reader.header, reader)
    except OSError as error:
        raise unreadable(path, error) from None
    text = io.StringIO()
    write_lines(header, lines, text)
    written = text.getvalue().encode()
    again = read_portable(io.BytesIO(written), name=str(path))
    for found in replay(header.session, again.recorded()).divergences:
        why = "today's code decides otherwise when it is asked once more"
        raise refused(found.sequence, why)
    try:
        _replace(path, written)
    except OSError as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"{path} cannot be written: {error.strerror or error}."
        ) from None


def check_files(
    paths: Sequence[Path], *, accept: bool = False, jobs: int | None = None
) -> Generator[Verdict]:
    """Yield the verdict on each file, in order, as they come.

    Args:
        jobs: processes to share the work. Default: one for each processor, where that pays.
    """
    work = partial(check_file, accept=accept)
    if jobs is None and sum(map(_size, paths)) < _WORTH_PROCESSES:
        jobs = 1
    return in_processes(work, paths, jobs)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # removed since it was listed; its verdict says so
        return 0


def _replace(path: Path, data: bytes) -> None:
    """Put `data` in place of a file: after a crash it is the old one or the new one, whole."""
    path = path.resolve()  # of a link, its target is what changes
    if not os.access(path, os.W_OK):  # which a replacement would not ask for
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = path.stat().st_mode & 0o777
    descriptor, temporary = tempfile.mkstemp(prefix=".turnlog-accept-", dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
            os.fchmod(descriptor, mode)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def unreadable(path: Path, error: OSError) -> UsageError:
    """Return what is told of a file that cannot be opened or read."""
    if isinstance(error, IsADirectoryError):
        return UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"{path} is a folder: `turnlog check` replays what is in one.",
        )
    return UsageError(
        ErrorCode.INPUT_UNREADABLE, f"{path} cannot be read: {error.strerror or error}."
    )


def _fail(error: OSError) -> NoReturn:
    raise UsageError(
        ErrorCode.INPUT_UNREADABLE, f"{error.filename} cannot be read: {error.strerror or error}."
    )
