"""Many at once, or one alone: the threads that use an environment, and the one that changes it."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition

import attrs


@attrs.define(eq=False)
class Gate:
    """A lock with a shared and an exclusive side; who wants it exclusively goes first.

    Not reentrant: whoever is inside must not enter again.
    """

    _changed: Condition = attrs.field(factory=Condition)
    _inside: int = 0
    _closed: bool = False

    @contextmanager
    def shared(self) -> Generator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if not self._inside:
                    self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Generator[None]:
        with self._changed:
            while self._closed:
                self._changed.wait()
            self._closed = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
