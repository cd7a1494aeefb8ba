"""What holds for each run of the tests: its surroundings, its limits, and what it says at its end.

A run is the same everywhere, so that a red one means that the change in hand is bad. To look for
what nobody has seen yet, `make explore` takes other examples each time, and many more.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import replayed
from tests.surroundings.steady import make_steady

make_steady()  # before any test module reads the environment
pytest_plugins = ["tests.limits", "tests.not_run"]

# The machine may be shared, so how long one example takes says nothing.
settings.register_profile(
    "same",
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("same"), max_examples=1600, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_REPORT = "replayed"  # what a worker tells the process that started it


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_REPORT] = (replayed.sessions, replayed.events)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist has no types
    sessions, events = getattr(node, "workeroutput", {}).get(_REPORT, (0, 0))
    replayed.sessions += sessions
    replayed.events += events


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if replayed.sessions:
        terminalreporter.write_line(
            f"{replayed.sessions} sessions that the tests recorded were replayed "
            f"({replayed.events} events): no difference"
        )
