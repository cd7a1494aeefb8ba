"""A lock for threads: many use an environment at once, or one changes it alone."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Condition

import attrs


@attrs.define(eq=False)
class ReadWriteLock:
    """A lock that many hold in shared mode, or one in exclusive mode, which goes first.

    It is not reentrant: a thread that holds it must not take it again.
    """

    _changed: Condition = attrs.field(factory=Condition)
    _inside: int = 0
    _closed: bool = False

    @contextmanager
    def shared(self) -> Generator[None]:
        """Hold the lock together with others; wait while one has it alone, or waits for that."""
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
        """Hold the lock alone; wait until nobody else has it."""
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
