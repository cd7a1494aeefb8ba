"""A session that is recorded on the first run of a test, and answered from the record afterwards.

A cassette is an ordinary log, in the portable form: `turnlog import` takes it, and it replays.
The model is recorded; tools are live. What looks like a secret is taken out when it is saved.
"""

import io
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import attrs

from turnlog.actors.ports import ContextLoader, ModelClient, ModelRequest, ModelSignal
from turnlog.actors.stored_state.pages import read_whole
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.files.portable import read_portable, write_portable
from turnlog.replay.files.redact import redact
from turnlog.replay.rerun.ports.model import RecordedModel
from turnlog.replay.rerun.recording import record_ports
from turnlog.replay.rerun.request_matching import RequestBook
from turnlog.replay.rerun.tolerances import Tolerances
from turnlog.replay.testing.harness import SETTINGS, open_test_engine
from turnlog.replay.testing.secrets import PATTERNS
from turnlog.runtime.engine.session import Session
from turnlog.runtime.private_files import write_private
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.tools.tool import Tool

Mode = Literal["once", "none", "all"]
Model = ModelClient | Callable[[], ModelClient]
FOLDER: Final = "__turnlog__"
_STAND_IN: Final = r"\[redacted-\d+\]"
_PAGE: Final = 1000  # events of one reading


class CassetteMissing(AssertionError):
    """There is no recording, and none may be made."""


class CassetteMiss(AssertionError):
    """The test asks for something else than what was recorded. Nothing was called."""


@attrs.define
class Cassette:
    """One recorded session.

    Args:
        path: the file.
        mode: `once` records if there is no file; `none` never does; `all` always does.
        patterns: what is taken out when it is saved.
        tolerate: what may differ in a request, by the names of `recordings.tolerances`.
    """

    path: Path
    mode: Mode = "once"
    patterns: Sequence[re.Pattern[str]] = PATTERNS
    tolerate: Sequence[str] = ()

    @property
    def records(self) -> bool:
        """Whether a session would be recorded now, with a live model."""
        return self.mode == "all" or (self.mode == "once" and not self.path.exists())

    def save(self, events: Iterable[Recorded]) -> None:
        """Write a session, without its secrets, in place of what is there."""
        whole = list(events)
        safe = list(redact(whole, self.patterns))
        changed = [record.event for record in safe] != [record.event for record in whole]
        text = io.StringIO()
        write_portable(safe if changed else whole, text, redacted=changed)
        write_private(self.path, text.getvalue().encode())

    def load(self) -> list[Recorded]:
        """Return the recorded session.

        Raises:
            CassetteMissing: there is none.
            FileInvalid: the file is damaged.
        """
        try:
            with self.path.open("rb") as lines:
                return list(read_portable(lines, name=str(self.path)).recorded())
        except FileNotFoundError:
            raise CassetteMissing(
                f"there is no recording {self.path}, and the mode {self.mode!r} makes none. "
                "Run the test once with --turnlog-record=once, where the model can be reached, "
                "and keep the file with your tests."
            ) from None

    @asynccontextmanager
    async def session(
        self,
        *,
        model: Model,
        tools: Sequence[Tool] = (),
        settings: SessionSettings = SETTINGS,
        context: ContextLoader | None = None,
    ) -> AsyncGenerator[Session]:
        """Run a session; record it, or answer its model from the record.

        A recording is kept if the block ends without an error.

        Args:
            model: the live one, or what makes it. It is not touched unless this records.
            tools: they run live, each time.
            settings: of the session.

        Raises:
            CassetteMissing: there is no recording, and none may be made.
            CassetteMiss: the session asked for something else than what was recorded, or not for
                all of it.
        """
        if not self.records:
            async with self._replayed(tools, settings, context) as session:
                yield session
            return
        log = MemoryLog()
        live = model() if callable(model) else model
        async with open_test_engine(
            live, tools, settings=settings, log=log, context=context
        ) as engine:
            session = await engine.start()
            yield session
            await session.close()
            self.save(await read_whole(log, session.id))

    @asynccontextmanager
    async def _replayed(
        self, tools: Sequence[Tool], settings: SessionSettings, context: ContextLoader | None
    ) -> AsyncGenerator[Session]:
        hidden = [(pattern.pattern, "<secret>") for pattern in map(_with_flags, self.patterns)]
        tolerances = Tolerances(self.tolerate, [*hidden, (_STAND_IN, "<secret>")])
        exchanges = record_ports(self.load()).exchanges
        model = _Counting(RecordedModel(RequestBook(exchanges, tolerances)))
        try:
            async with open_test_engine(model, tools, settings=settings, context=context) as engine:
                session = await engine.start()
                yield session
                await session.close()
        except Exception as error:
            if model.recorded.playback.mismatches:
                raise self._miss(model) from error
            raise
        if model.recorded.playback.mismatches or model.asked < len(exchanges):
            raise self._miss(model, len(exchanges))

    def _miss(self, model: "_Counting", recorded: int = 0) -> CassetteMiss:
        misses = model.recorded.playback.mismatches
        what = (
            misses[0].text if misses else f"{recorded} requests were recorded, {model.asked} made"
        )
        return CassetteMiss(
            f"{self.path}: {what}\n"
            "Nothing was called. If the change is meant, record again: --turnlog-record=all."
        )


@attrs.define(eq=False)
class _Counting:
    """Counts the requests that a recorded model is asked."""

    recorded: RecordedModel
    asked: int = 0

    async def call(
        self, request: ModelRequest, emit: Callable[[ModelSignal], Awaitable[None]]
    ) -> None:
        self.asked += 1
        await self.recorded.call(request, emit)


def _with_flags(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return a pattern that says its flags in its own text."""
    flags = "".join(
        letter
        for letter, flag in (("s", re.S), ("i", re.I), ("m", re.M), ("x", re.X))
        if pattern.flags & flag
    )
    return re.compile(f"(?{flags}:{pattern.pattern})") if flags else pattern
