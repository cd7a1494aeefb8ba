"""The engine reads nothing for the model that a command may not read.

A command cannot read a hidden file, but it can make a link to it: as AGENTS.md, as an image, as a
file to be changed. So the check looks at the file that was opened, and not at its name. Standard
library only, since the program that applies patches uses it, too.
"""

import errno
import os
from collections.abc import Iterator, Sequence

WHY = "it is in turnlog's home, which nothing is read from for the model"


class ReadGuard:
    """Refuses files that lie in hidden folders, by whichever name they were reached."""

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        self.hidden: tuple[str, ...] = tuple(hidden)

    def check(self, descriptor: int, path: str | os.PathLike[str]) -> None:
        """Check an open file before anything is read from it.

        A hard link to a hidden file counts as that file.

        Args:
            path: for the error only.

        Raises:
            PermissionError: it must not be read for the model.
        """
        if self.hidden and self._is_hidden(descriptor):
            raise PermissionError(errno.EACCES, WHY, os.fspath(path))

    def covers(self, path: str) -> bool:
        """Say whether a real path is in a hidden folder."""
        return any(
            path == folder or path.startswith(folder.rstrip("/") + "/")
            for folder in map(os.path.realpath, self.hidden)
        )

    def _is_hidden(self, descriptor: int) -> bool:
        try:
            place = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # no /proc here: only the files themselves can be compared
            place = None
        if place is not None and self.covers(place):
            return True
        status = os.fstat(descriptor)
        if place is not None and status.st_nlink < 2:
            return False
        return (status.st_dev, status.st_ino) in self._identities()

    def _identities(self) -> Iterator[tuple[int, int]]:
        for folder in self.hidden:
            for parent, _, names in os.walk(folder):
                for name in names:
                    try:
                        status = os.lstat(os.path.join(parent, name))
                    except OSError:
                        continue
                    yield status.st_dev, status.st_ino


OPEN = ReadGuard()  # hides nothing
