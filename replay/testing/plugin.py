"""The pytest plugin: the fixture `turnlog_session`, its option, its marker.

It is loaded in every run of pytest beside which turnlog is installed, so it imports nothing of
turnlog until a test asks for the fixture.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from turnlog.actors.ports import ContextLoader, ModelClient
    from turnlog.protocol.settings import SessionSettings
    from turnlog.replay.testing.cassettes import Cassette
    from turnlog.runtime.engine.session import Session
    from turnlog.runtime.tools.tool import Tool

MODES = ("once", "none", "all")
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("turnlog").addoption(
        "--turnlog-record",
        choices=MODES,
        default="once",
        help="once: record a session if there is no recording (default). none: never, and never "
        "reach a model. all: record every one again.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "turnlog(name=None, tolerate=()): the recording's name, and what may differ in a request.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember, for the fixture, how the test went."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


class Sessions:
    """What the fixture `turnlog_session` gives: call it for a session that is recorded once."""

    def __init__(self, folder: Path, name: str, mode: str, tolerate: Sequence[str]) -> None:
        self._folder, self._name, self._mode, self._tolerate = folder, name, mode, tolerate
        self._before: dict[Path, bytes | None] = {}  # what a recording takes the place of

    def cassette(self, name: str | None = None) -> Cassette:
        """Return the recording: of this test, or one of several by name."""
        from turnlog.replay.files.portable import SUFFIX
        from turnlog.replay.testing.cassettes import FOLDER, Cassette, Mode

        modes: dict[str, Mode] = {"once": "once", "none": "none", "all": "all"}
        stem = f"{self._name}-{name}" if name else self._name
        path = self._folder / FOLDER / f"{stem}{SUFFIX}"
        cassette = Cassette(path, modes[self._mode], tolerate=self._tolerate)
        if cassette.records and path not in self._before:
            self._before[path] = path.read_bytes() if path.exists() else None
        return cassette

    def discard(self) -> None:
        """Put back what was there before this test recorded anything."""
        for path, before in self._before.items():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(before)

    def __call__(
        self,
        *,
        model: ModelClient | Callable[[], ModelClient],
        tools: Sequence[Tool] = (),
        settings: SessionSettings | None = None,
        context: ContextLoader | None = None,
        name: str | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """Run a session: `async with turnlog_session(model=...) as session`.

        Args:
            model: the live model, or what makes it; touched only when this records.
            tools: live, each time.
            settings: of the session.
            context: what a turn starts with; by default nothing that differs between machines.
            name: where a test has several sessions.

        Raises:
            CassetteMissing, CassetteMiss: see `Cassette.session`.
        """
        from turnlog.replay.testing.harness import SETTINGS

        return self.cassette(name).session(
            model=model, tools=tools, settings=settings or SETTINGS, context=context
        )


@pytest.fixture
def turnlog_session(request: pytest.FixtureRequest) -> Generator[Sessions]:
    """Sessions that are recorded on the first run, beside the test, and replayed afterwards.

    A test that fails, in itself or in what was set up after this, leaves the recordings as they
    were. One that fails in the teardown of another fixture has passed, and keeps them.
    """
    node = cast(pytest.Item, request.node)
    marker = node.get_closest_marker("turnlog")
    options: Mapping[str, Any] = marker.kwargs if marker is not None else {}
    sessions = Sessions(
        request.path.parent,
        _file_name(_test_name(node, options.get("name"))),
        str(request.config.getoption("--turnlog-record")),
        tuple(options.get("tolerate", ())),
    )
    yield sessions
    if not node.stash.get(_PASSED, False):
        sessions.discard()


def _test_name(node: pytest.Item, given: str | None) -> str:
    """Return a name that no other test of the file has; `given` by its marker, perhaps."""
    if given is None:
        return f"{node.path.stem}.{node.nodeid.partition('::')[2]}"
    case = getattr(node, "callspec", None)
    return f"{given}[{case.id}]" if case is not None else given


def _file_name(name: str) -> str:
    """Return a name for a file. Different names stay different."""
    dotted = name.replace("::", ".")
    plain = re.sub(r"[^\w.-]+", "_", dotted)
    if plain == dotted:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
