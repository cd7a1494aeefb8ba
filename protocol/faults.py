"""Faults of the environment: what the machine refuses, with a text that says what to do."""

import errno
from collections.abc import Iterator, Mapping
from typing import Final

FOLDER_GONE: Final = (
    "the current folder has been removed. Go to another one, or give an absolute path."
)
_OUT_OF_MEMORY: Final = (
    "Give this process more: end other programs, or raise its limit (`ulimit -v`, or that of its "
    "container)."
)
_ADVICE: Final[Mapping[int, str]] = {
    errno.EMFILE: "Raise the limit of open files of this process (`ulimit -n`).",
    errno.ENFILE: "The whole machine has too many files open: end other programs.",
    errno.ENOMEM: _OUT_OF_MEMORY,
    errno.EAGAIN: (
        "Raise the limits of processes and of memory (`ulimit -u`, `ulimit -v`, `pids.max`)."
    ),
    errno.ENOSPC: "Free some space on its disk.",
    errno.EDQUOT: "Free some space: the quota of this user is used up.",
    errno.EFBIG: "Raise the limit of the size of a file (`ulimit -f`).",
    errno.EACCES: "Check its permissions, and those of the folders above it.",
    errno.EPERM: "Check its permissions, and what this user may do here.",
    errno.EROFS: "It is on a file system that is mounted read-only: name another place.",
    errno.ENOENT: "Check that it is there, with the folders above it.",
    errno.EIO: "Its disk or its terminal does not answer: look at the system's log.",
}
_BY_TEXT: Final[Mapping[str, str]] = {  # of the C library, and of its loader
    "Cannot allocate memory": _OUT_OF_MEMORY,
    "failed to map segment": _OUT_OF_MEMORY,
    "Too many open files": _ADVICE[errno.EMFILE],
    "File too large": _ADVICE[errno.EFBIG],
    "No space left on device": _ADVICE[errno.ENOSPC],
    "Disk quota exceeded": _ADVICE[errno.EDQUOT],
}
_NO_THREAD: Final = "can't start new thread"  # CPython's text


def environment_fault(error: BaseException) -> str | None:
    """Return what the machine has refused, the file that it was about, and what to do.

    None: neither `error` nor what it came from is a fault of the surroundings.
    """
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            return f"memory has run out. {_OUT_OF_MEMORY}"
        if isinstance(cause, RuntimeError) and str(cause).startswith(_NO_THREAD):
            return f"no further thread can be started. {_ADVICE[errno.EAGAIN]}"
        if isinstance(cause, ImportError) and (advice := advice_in(str(cause))):
            return f"{cause}. {advice}"  # the loader gives the system's reason as a text
        if isinstance(cause, OSError) and cause.errno is not None:
            return _of_system(cause)
    return None


def advice_in(text: str) -> str:
    """Return what to do about the system's error that a text of somebody else quotes; or ""."""
    return next((advice for known, advice in _BY_TEXT.items() if known in text), "")


def _of_system(error: OSError) -> str:
    """Return the text of an error of a system call."""
    names = [repr(name) for name in (error.filename, error.filename2) if name is not None]
    what = f"{' and '.join(names)}: " if names else ""
    return f"{what}{error.strerror}. {_ADVICE.get(error.errno or 0, '')}".rstrip()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from; each once, since such chains may be rings."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
