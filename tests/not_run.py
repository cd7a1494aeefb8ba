"""Says at the end of a run which tests could not run on this machine, and why."""

from collections import Counter
from collections.abc import Iterable

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports: list[pytest.TestReport | pytest.CollectReport]
    reports = terminalreporter.stats.get("skipped", [])
    for line in not_run((report.nodeid, _reason(report)) for report in reports):
        terminalreporter.write_line(line)


def not_run(tests: Iterable[tuple[str, str]]) -> list[str]:
    """Return, for each reason, how many tests it kept from running, and below it which.

    Args:
        tests: the id of each test and why it did not run.
    """
    by_reason: dict[str, Counter[str]] = {}
    for test, reason in tests:
        by_reason.setdefault(reason, Counter())[test.partition("[")[0]] += 1
    lines: list[str] = []
    for reason, counts in by_reason.items():
        total = counts.total()
        lines.append(f"NOT RUN: {total} test{'s' if total > 1 else ''}: {reason}")
        lines += [
            f"  {test}" + (f" ({count} cases)" if count > 1 else "")
            for test, count in counts.items()
        ]
    return lines


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the reason of a skip, on one line."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    words = " ".join(said.removeprefix("Skipped: ").removeprefix("NOT RUN: ").split())
    return words or "no reason was given"
