"""The benchmarks themselves, without their measuring: each has claims, and each claim a bound."""

import importlib
import math
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("bench_*.py"))


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that all benchmarks share, found as it is when one of them is run."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("measure")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_each_benchmark_imports_and_bounds_every_claim(script: Path, measure: ModuleType) -> None:
    found: dict[str, Any] = runpy.run_path(str(script))
    claims = found["CLAIMS"]
    assert claims
    assert all(math.isfinite(claim.bound) and claim.bound > 0 and claim.unit for claim in claims)
    assert {id(value) for value in found.values() if isinstance(value, measure.Claim)} == {
        id(claim) for claim in claims
    }
    assert callable(found["measure"])


def test_no_two_claims_have_the_same_name(measure: ModuleType) -> None:
    names = [claim.name for script in SCRIPTS for claim in runpy.run_path(str(script))["CLAIMS"]]
    assert len(names) == len(set(names))


def test_each_counts_at_its_quietest_so_that_a_slow_reference_flatters_nobody(
    measure: ModuleType, tmp_path: Path
) -> None:
    rounds = measure.Rounds()
    for reference, subject in ((1.0, 4.0), (1.5, 3.0), (9.0, 9.0)):
        rounds.begin()
        rounds.add("R", [reference] * 3)
        rounds.add("subject", [subject, subject, 100 * subject])
    bench = measure.Bench(tmp_path)
    bench.ratio(measure.Claim("at most", 3, "R"), rounds, "subject", "R")
    bench.ratio(measure.Claim("at least", 0.25, "x", at_least=True), rounds, "subject", "R")
    assert [(outcome.measured, outcome.ok) for outcome in bench.outcomes] == [
        (3.0, True),
        (1 / 3, True),
    ]
    assert bench.notes == ["noisy: from round to round, R took 1 s to 9 s"]


def test_a_table_shows_what_falls_short_and_the_last_line_names_it(
    measure: ModuleType, tmp_path: Path
) -> None:
    bench = measure.Bench(tmp_path)
    bench.result(measure.Claim("fast", 2, "R"), 1.5, "R = 60 us")
    bench.result(measure.Claim("many", 4, "/R", at_least=True), 1.25, "R = 60 us")
    bench.note("by the way")
    report = measure.Report("append", bench.outcomes, bench.notes)
    assert measure.render(report).splitlines() == [
        "append",
        "  claim  measured  bound    reference",
        "  fast   1.5 R     <= 2 R   R = 60 us  ok",
        "  many   1.25 /R   >= 4 /R  R = 60 us  FALLS SHORT",
        "  - by the way",
    ]
    assert measure.verdict([report]) == "FALLS SHORT: append: many"


def test_a_benchmark_without_a_shortfall_says_that_every_claim_holds(measure: ModuleType) -> None:
    assert measure.verdict([measure.Report("append", [], [])]) == "every claim holds"
