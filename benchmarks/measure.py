"""What every benchmark is made of: claims with bounds, a reference, rounds, a table.

A claim is a ratio to something that is measured in the same run, in turns with it, so that a slow
machine moves both. R is the p50 of a 4 KiB overwrite with fdatasync. Each of a few short rounds
measures subject and reference in turns; what counts of each is the median of its quietest round.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import attrs
import msgspec
from msgspec import Struct

from turnlog.runtime.tuning import tune_process

T = TypeVar("T")

ROUNDS: Final = 5
NOISY: Final = 2.0  # how far a reference may move between rounds, before that is said
R: Final = "R"
_PAGE: Final = 4096  # bytes of the reference write


class Claim(Struct, frozen=True):
    """A promise with a bound, in units of its reference."""

    name: str
    bound: float
    unit: str  # R, x (times the reference), KB, ...
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


class Outcome(Struct, frozen=True):
    """What a claim came to."""

    claim: str
    measured: float
    bound: float
    unit: str
    at_least: bool
    reference: str  # with its own measured value
    ok: bool


class Report(Struct, frozen=True):
    """One benchmark's results. `--json` prints it on one line."""

    benchmark: str
    outcomes: list[Outcome]
    notes: list[str]

    @property
    def falls_short(self) -> list[str]:
        return [outcome.claim for outcome in self.outcomes if not outcome.ok]


@attrs.define
class Rounds:
    """How long things take, in seconds, by name. Within a round they are measured in turns."""

    _rounds: list[dict[str, list[float]]] = attrs.field(factory=list[dict[str, list[float]]])

    def begin(self) -> None:
        self._rounds.append({})

    def add(self, name: str, times: Iterable[float]) -> None:
        self._rounds[-1].setdefault(name, []).extend(times)

    def medians(self, name: str) -> list[float]:
        """Return the median of `name` in each round."""
        return [median(taken[name]) for taken in self._rounds]

    def best(self, name: str) -> float:
        """Return the median of the quietest round."""
        return min(self.medians(name))


@attrs.define
class Bench:
    """Collects what one benchmark finds out."""

    folder: Path  # empty, on the disk that is measured
    outcomes: list[Outcome] = attrs.field(factory=list[Outcome])
    notes: list[str] = attrs.field(factory=list[str])

    def ratio(self, claim: Claim, rounds: Rounds, subject: str, reference: str) -> None:
        """Report how the two compare, each at its quietest: a slow reference flatters nobody.

        An upper bound is on subject / reference; a lower one on how many subjects fit into one
        reference.
        """
        ours, theirs = rounds.best(subject), rounds.best(reference)
        value = theirs / ours if claim.at_least else ours / theirs
        self.result(claim, value, f"{reference} = {show_time(theirs)}")
        if (worst := max(rounds.medians(reference))) > theirs * NOISY:
            span = f"{show_time(theirs)} to {show_time(worst)}"
            self.note(f"noisy: from round to round, {reference} took {span}")

    def result(self, claim: Claim, value: float, reference: str) -> None:
        self.outcomes.append(
            Outcome(
                claim.name,
                value,
                claim.bound,
                claim.unit,
                claim.at_least,
                reference,
                claim.holds(value),
            )
        )

    def note(self, text: str) -> None:
        """Say something that has no bound."""
        if text not in self.notes:
            self.notes.append(text)


@attrs.define
class Disk:
    """The reference R, on the disk that holds `folder`."""

    folder: Path
    _file: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = os.open(self.folder / "reference", os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._file, bytes(_PAGE), 0)
        os.fsync(self._file)

    def sample(self, count: int) -> list[float]:
        """Return how long each of `count` synced overwrites took."""
        return [timed(self._overwrite) for _ in range(count)]

    def _overwrite(self) -> None:
        os.pwrite(self._file, os.urandom(_PAGE), 0)
        os.fdatasync(self._file)


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds `action` took."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def show_time(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def pages(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Yield `items` in pieces of `size`."""
    return (items[at : at + size] for at in range(0, len(items), size))


def main(name: str, claims: Sequence[Claim], measure: Callable[[Bench], None]) -> None:
    """Measure, and print a table, or one line with `--json`. What falls short is no error."""
    parser = argparse.ArgumentParser(description=f"{name}: every claim as a ratio, in one run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--folder", help="measure on this folder's disk (default: $TMPDIR)")
    args = parser.parse_args()
    tune_process()  # as the command does
    with tempfile.TemporaryDirectory(prefix="turnlog-bench-", dir=args.folder) as folder:
        bench = Bench(Path(folder))
        measure(bench)
    missing = {claim.name for claim in claims} - {outcome.claim for outcome in bench.outcomes}
    if missing:
        sys.exit(f"{name}: not measured: {', '.join(sorted(missing))}")
    report = Report(name, bench.outcomes, bench.notes)
    print(msgspec.json.encode(report).decode() if args.json else render(report))
    if not args.json:
        print(verdict([report]))


def render(report: Report) -> str:
    """Return the report as an aligned table, notes below."""
    rows = [("claim", "measured", "bound", "reference", "")]
    for outcome in report.outcomes:
        sign = ">=" if outcome.at_least else "<="
        rows.append(
            (
                outcome.claim,
                f"{outcome.measured:.3g} {outcome.unit}",
                f"{sign} {outcome.bound:g} {outcome.unit}",
                outcome.reference,
                "ok" if outcome.ok else "FALLS SHORT",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [report.benchmark]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join([*lines, *(f"  - {note}" for note in report.notes)])


def verdict(reports: Iterable[Report]) -> str:
    """Return the last line: what falls short, or that nothing does."""
    short = [f"{report.benchmark}: {claim}" for report in reports for claim in report.falls_short]
    return f"FALLS SHORT: {'; '.join(short)}" if short else "every claim holds"
