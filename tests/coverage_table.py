"""Coverage of our own code, as a table by folder: `python -m tests.coverage_table [FOLDER ...]`.

Each folder of tests is run and measured alone, so that the table can say what a folder's own tests
reach, and what all of them do. Branches count as lines do. Without arguments, all tests are run.

A test that fills a disk or bars a process from writing may fail here, since what measures it has to
write, too. `make test` says whether tests pass.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from coverage import Coverage, CoverageData

ROOT: Final = Path(__file__).parents[1]
_DATA: Final = ROOT / ".coverage-data"
_OWN: Final = "own"  # the tests of a folder: those below `tests` with its name, but for these:
_TESTS_OF: Final = {
    "actors/core": "core",
    "runtime": "engine",  # what has no folder of tests: the engine, its tools, their assembly
    "frontends": "cli",
}


def main(folders: Sequence[str]) -> None:
    _DATA.mkdir(exist_ok=True)
    chosen = list(folders) or sorted(
        folder.name for folder in (ROOT / "tests").iterdir() if any(folder.rglob("test_*.py"))
    )
    for folder in chosen:
        _measure(folder)
    every = {folder: _summary([folder]) for folder in chosen}
    print("\n".join(_table(every, _summary(chosen))))


def _measure(folder: str) -> None:
    """Run a folder of tests."""
    for old in _DATA.glob(f"{folder}*"):
        old.unlink()
    name = _DATA / folder
    tests = ("-m", "pytest", "-q", "-n", "auto", f"tests/{folder}")
    measured = ("-m", "coverage", "run", f"--data-file={name}", *tests)
    subprocess.run([sys.executable, *measured], cwd=ROOT, check=False)
    merged = ("-m", "coverage", "combine", "-q", f"--data-file={name}")
    subprocess.run([sys.executable, *merged], cwd=ROOT, check=True)


def _summary(folders: Iterable[str]) -> dict[str, Counter[str]]:
    """Return how much of each file is reached by these folders of tests."""
    together = _DATA / "together"
    together.unlink(missing_ok=True)
    data = CoverageData(str(together))
    for folder in folders:
        part = CoverageData(str(_DATA / folder))
        part.read()
        data.update(part)
    data.write()
    coverage = Coverage(data_file=str(together), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    report = _DATA / "report.json"
    coverage.json_report(outfile=str(report))
    files: dict[str, dict[str, Any]] = json.loads(report.read_text())["files"]
    return {file: Counter(_counted(found["summary"])) for file, found in files.items()}


def _counted(summary: dict[str, int]) -> dict[str, int]:
    return {
        "all": summary["num_statements"] + summary["num_branches"],
        "reached": summary["covered_lines"] + summary["covered_branches"],
    }


def _table(every: dict[str, dict[str, Counter[str]]], union: dict[str, Counter[str]]) -> list[str]:
    rooms: dict[str, Counter[str]] = {}
    for file, counted in union.items():
        room, tests = _room(file)
        row = rooms.setdefault(room, Counter())
        row.update(counted)
        row[_OWN] += every.get(tests, {}).get(file, Counter[str]())["reached"]
    lines = ["folder                    lines and branches   own tests   all tests"]
    for room, row in sorted(rooms.items()):
        own, reached = (100 * row[name] / row["all"] for name in (_OWN, "reached"))
        lines.append(f"{room:<25} {row['all']:>18} {own:>10.1f}% {reached:>10.1f}%")
    return lines


def _room(file: str) -> tuple[str, str]:
    """Return the folder that a file is counted in, and the folder of its own tests."""
    top, *rest = Path(file).parts
    inner = f"{top}/{rest[0]}"
    if inner in _TESTS_OF:
        return inner, _TESTS_OF[inner]
    if top == "runtime" and (ROOT / "tests" / rest[0]).is_dir():
        return inner, rest[0]
    return top, _TESTS_OF.get(top, top)


if __name__ == "__main__":
    main(sys.argv[1:])
