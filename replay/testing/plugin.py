"""The pytest plugin: the fixture `turnlog_session`, its option, its marker.

It is loaded in every run of pytest beside which turnlog is installed, so it imports nothing of
turnlog until a test asks for the fixture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from turnlog.actors.ports import ContextLoader, ModelClient
    from turnlog.protocol.settings import SessionSettings
    from turnlog.replay.testing.cassettes import Cassette
    from turnlog.runtime.session import Session
    from turnlog.runtime.tools.tool import Tool

MODES = ("once", "none", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("turnlog").addoption(
        "--turnlog-record",
        choices=MODES,
        default="once",
        help="once: record a session if there is no recording (default). none: never, and never "
        "reach a model. all: record every one anew.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "turnlog(name=None, tolerate=()): the recording's name, and what may differ in a request.",
    )


class Sessions:
    """What the fixture `turnlog_session` gives: call it for a session that is recorded once."""

    def __init__(self, folder: Path, name: str, mode: str, tolerate: Sequence[str]) -> None:
        self._folder, self._name, self._mode, self._tolerate = folder, name, mode, tolerate

    def cassette(self, name: str | None = None) -> Cassette:
        """Return the recording: of this test, or one of several by name."""
        from turnlog.replay.testing.cassettes import FOLDER, SUFFIX, Cassette, Mode

        modes: dict[str, Mode] = {"once": "once", "none": "none", "all": "all"}
        stem = f"{self._name}-{name}" if name else self._name
        path = self._folder / FOLDER / f"{stem}{SUFFIX}"
        return Cassette(path, modes[self._mode], tolerate=self._tolerate)

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
def turnlog_session(request: pytest.FixtureRequest) -> Sessions:
    """Sessions that are recorded on the first run, beside the test, and replayed afterwards."""
    node = cast(pytest.Item, request.node)
    marker = node.get_closest_marker("turnlog")
    options: Mapping[str, Any] = marker.kwargs if marker is not None else {}
    name = str(options.get("name") or f"{request.path.stem}.{node.name}")
    return Sessions(
        request.path.parent,
        re.sub(r"[^\w.-]+", "_", name),
        str(request.config.getoption("--turnlog-record")),
        tuple(options.get("tolerate", ())),
    )
