"""Try the demo, the tests and `turnlog exec` on each machine, in all surroundings: a table.

    python -m tests.surroundings [--write] [--places NAME ...] [--jobs N]

A machine lacks some sandboxes: a filter takes landlock and namespaces away, and the PATH bwrap. In
each cell the chosen sandbox is asked for first, so that none stands for another. Exits with 1 if a
cell failed. With --write, the table goes into docs/surroundings.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs

from tests.surroundings.places import MACHINES, PLACES, ROOT, Machine, Place, copy_project

PAGE: Final = ROOT / "docs" / "surroundings.md"
_BEGIN, _END = "<!-- made by `make surroundings` -->", "<!-- end -->"
_LIMIT: Final = 600  # seconds for one program
# What stands for the whole suite: where nothing is odd, all that is confined; elsewhere, how
# processes are started, told of and ended.
_SANDBOX_TESTS: Final = ("tests/sandbox/test_*.py", "tests/engine/test_tool_*.py")
_TESTS: Final = ("tests/surroundings", "tests/cli/test_unconfined.py", "tests/cli/test_startup.py")
_SYSTEM: Final = ("/bin", "/usr/bin", "/usr/local/bin")  # where bwrap is looked for, whatever PATH
_PASSED, _FAILED, _NOT_RUN = "yes", "NO", "not run"
_NONE_RUN: Final = (_NOT_RUN, _NOT_RUN, _NOT_RUN)


@attrs.frozen
class Cell:
    """What came of one machine in one place: a word for each of demo, tests and exec."""

    place: Place
    machine: Machine
    words: tuple[str, str, str]
    why: str = ""  # what failed said, or why it was not run

    @property
    def failed(self) -> bool:
        return _FAILED in self.words


@attrs.frozen
class Trial:
    """One cell, about to be tried, in a folder of its own."""

    place: Place
    machine: Machine
    bubblewrap: str | None  # the folder of bwrap
    folder: Path

    def run(self) -> Cell:
        """Try all three; the first failure is kept in full."""
        if (why := self._missing()) != "":
            return Cell(self.place, self.machine, _NONE_RUN, why)
        project = self.folder / self.place.folder
        self.folder.chmod(0o755)
        for needed in ("temporary", "turnlog/temporary"):
            (self.folder / needed).mkdir(parents=True, exist_ok=True)
        python = copy_project(project, self.place.user)
        chosen = self._start([python, "-m", "turnlog", "doctor", "--json"], project)
        if (used := _mechanism(chosen)) != self.machine.used:
            why = f"{used} was chosen, not {self.machine.used}:\n{_said(chosen)}"
            return Cell(self.place, self.machine, (_FAILED, _FAILED, _FAILED), why)
        expected = "sandbox" if self.machine.used else "none"
        programs = (
            [python, "-m", "turnlog", "demo"],
            [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *self._tests(project)],
            [python, "-m", "tests.surroundings.one_exec", expected],
        )
        done = [self._start(program, project) for program in programs]
        first, second, third = (_FAILED if each.returncode else _PASSED for each in done)
        why = next((_said(each) for each in done if each.returncode), "")
        if second == _PASSED:
            second = _count(done[1])
        return Cell(self.place, self.machine, (first, second, third), why)

    def _missing(self) -> str:
        if self.machine.has_bubblewrap and self.bubblewrap is None:
            return "bubblewrap is not installed"
        return self.place.missing()

    def _tests(self, project: Path) -> list[str]:
        globs = _SANDBOX_TESTS if self.place == PLACES[0] else _TESTS
        return [str(path) for glob in globs for path in sorted(project.glob(glob))]

    def _start(self, words: Sequence[str], project: Path) -> "subprocess.CompletedProcess[bytes]":
        environ = self._with_machine(self.place.environment(self.folder))
        argv = [*self.place.prefix, *self.machine.under(words[0]), *words]
        user = self.place.user
        try:
            return subprocess.run(
                argv,
                cwd=project,
                env=environ,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                preexec_fn=self.place.spoil,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_LIMIT,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"") + b"\nit had not ended after its limit\n"
            return subprocess.CompletedProcess(argv, 124, said, late.stderr or b"")

    def _with_machine(self, environ: dict[str, str]) -> dict[str, str]:
        """Let this machine have bwrap, or lack it."""
        if self.bubblewrap is None:
            return environ
        if self.machine.has_bubblewrap:
            return {**environ, "PATH": f"{self.bubblewrap}:{environ.get('PATH', os.defpath)}"}
        if shutil.which("bwrap", path=":".join(_SYSTEM)):  # it can only be passed over
            return environ | ({"TURNLOG_SANDBOX": self.machine.used} if self.machine.used else {})
        if "PATH" in environ:
            folders = environ["PATH"].split(os.pathsep)
            environ["PATH"] = os.pathsep.join(each for each in folders if each != self.bubblewrap)
        return environ


def _mechanism(done: "subprocess.CompletedProcess[bytes]") -> str | None:
    try:
        used: str | None = json.loads(done.stdout)["sandbox"]["used"]
    except (ValueError, KeyError):
        return "an error"
    return used


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    text = (done.stdout + done.stderr).decode(errors="replace")
    return f"$ {' '.join(map(str, done.args))}\nexit code {done.returncode}\n{text[-6000:]}"


def _count(done: "subprocess.CompletedProcess[bytes]") -> str:
    """Return how many tests passed, from pytest's last line."""
    last = done.stdout.decode(errors="replace").strip().splitlines()[-1]
    return last.partition(" passed")[0].split()[-1] if " passed" in last else _PASSED


def table(cells: Iterable[Cell], kept: Mapping[str, str]) -> str:
    """Return the table: a row for each place, a column for each machine.

    Args:
        kept: rows that were made before, by their place; those of `cells` take their place.
    """
    tried: dict[str, dict[str, str]] = {}
    for cell in cells:
        row = tried.setdefault(cell.place.name, {})
        row[cell.machine.name] = _NOT_RUN if cell.words == _NONE_RUN else ", ".join(cell.words)
    machines = [machine.name for machine in MACHINES]
    made = {
        name: _line(name, *(row[machine] for machine in machines)) for name, row in tried.items()
    }
    rows = {**kept, **made}
    known = [rows[place.name] for place in PLACES if place.name in rows]
    return "\n".join([_line("", *machines), "|---" * (len(machines) + 1) + "|", *known])


def _line(*fields: str) -> str:
    return f"| {' | '.join(fields)} |"


def _rows_of(page: str) -> dict[str, str]:
    """Return the rows of the table on a page, by their place."""
    inside = page.partition(_BEGIN)[2].partition(_END)[0]
    lines = [line for line in inside.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines}


def main() -> int:
    options = _options()
    bwrap = shutil.which("bwrap")
    chosen = [place for place in PLACES if not options.places or place.name in options.places]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="turnlog-surroundings-") as name:
        root = Path(name).resolve()
        root.chmod(0o755)
        tried: list[Trial] = []
        for number, (place, machine) in enumerate(
            (place, machine) for place in chosen for machine in MACHINES
        ):
            folder = root / str(number)
            folder.mkdir()
            tried.append(Trial(place, machine, bwrap and os.path.dirname(bwrap), folder))
        with ThreadPoolExecutor(options.jobs) as pool:
            cells = list(pool.map(_try, tried))
    print(table(cells, {}))
    for cell in cells:
        if cell.why and not cell.failed:
            print(f"NOT RUN: {cell.place.name}, {cell.machine.name}: {cell.why}")
    for cell in cells:
        if cell.failed:
            print(f"\nFAILED: {cell.place.name}, {cell.machine.name}:\n{cell.why}")
    print(f"{len(cells)} cells in {time.monotonic() - begun:.0f} s")
    if options.write:
        _write(cells)
    return int(any(cell.failed for cell in cells))


def _try(trial: Trial) -> Cell:
    cell = trial.run()
    print(f"{cell.place.name}; {cell.machine.name}: {', '.join(cell.words)}", file=sys.stderr)
    return cell


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.surroundings", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    names = [place.name for place in PLACES]
    parser.add_argument("--places", nargs="+", choices=names, help="these alone; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cells at once")
    return parser.parse_args()


def _write(cells: Sequence[Cell]) -> None:
    page = PAGE.read_text("utf-8")
    made = table(cells, _rows_of(page))
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{made}\n\n{_END}{after}", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
