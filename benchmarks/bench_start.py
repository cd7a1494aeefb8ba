"""From the start of the process to the first line of `turnlog exec --json`, and what dominates it.

The first line says that the session is on disk with its prompt. The bounds follow from the
libraries alone: trio, msgspec, attrs and lmdb with a few hundred classes take about 13 times as
long to say something as a bare interpreter, and twice as long as trio.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio
from measure import ROUNDS, Bench, Claim, Rounds, main, show_time

from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.server import serve_script

STARTS = 3  # of each round
SHOWN = 8  # packages

BARE = Claim("exec --json to its first line, against python", 13, "x")
TRIO = Claim("exec --json to its first line, against import trio", 2, "x")
CLAIMS = (BARE, TRIO)

_CONFIG = """\
model = "scripted"
model_provider = "scripted"

[model_providers.scripted]
base_url = "{url}"
"""
_SAY = "import os; os.write(1, b'{}\\n')"
_SUBJECTS = {
    "python": ("-c", _SAY),
    "import trio": ("-c", f"import trio; {_SAY}"),
    "exec": ("-m", "turnlog", "exec", "--json", "say hello"),
}


@attrs.frozen
class _Starter:
    """Starts interpreters in an environment of their own."""

    home: Path

    @classmethod
    def make(cls, home: Path, url: str) -> "_Starter":
        home.mkdir()
        (home / "config.toml").write_text(_CONFIG.format(url=url))
        return cls(home)

    async def _start(self, arguments: Sequence[str], stderr: int) -> trio.Process:
        process: trio.Process = await trio.lowlevel.open_process(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.home,
            env={**os.environ, "TURNLOG_HOME": str(self.home)},
        )
        return process

    async def first_line(self, arguments: Sequence[str]) -> tuple[float, float]:
        """Return seconds to the first output, and to the end."""
        begin = trio.current_time()
        process = await self._start(arguments, subprocess.DEVNULL)
        assert process.stdout is not None
        async with process.stdout:
            assert await process.stdout.receive_some()
            first = trio.current_time() - begin
            async for _ in process.stdout:
                pass
        assert await process.wait() == 0, arguments
        return first, trio.current_time() - begin

    async def imports(self, arguments: Sequence[str]) -> Counter[str]:
        """Return microseconds of importing before the first line, by package."""
        process = await self._start(("-X", "importtime", *arguments), subprocess.STDOUT)
        assert process.stdout is not None
        async with process.stdout:
            output = b"".join([chunk async for chunk in process.stdout]).decode()
        await process.wait()
        times = Counter[str]()
        for line in output.partition('{"type"')[0].splitlines():
            own, _, rest = line.removeprefix("import time:").partition("|")
            if own.strip().isdigit():
                times[_package(rest.rpartition("|")[2].strip())] += int(own)
        return times


def _package(module: str) -> str:
    """Return what a module is counted under: its package, and of ours the part of the house."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "turnlog" else parts[0]


async def _measure(bench: Bench) -> None:
    rounds = Rounds()
    script = Script.of("hello", loop=True)
    async with serve_script(script, keep_requests=False) as server:
        starter = _Starter.make(bench.folder / "home", server.base_url)
        for arguments in _SUBJECTS.values():
            await starter.first_line(arguments)  # warm: files in memory, bytecode written
        for _ in range(ROUNDS):
            rounds.begin()
            for _ in range(STARTS):
                for name, arguments in _SUBJECTS.items():
                    first, whole = await starter.first_line(arguments)
                    rounds.add(name, [first])
                    rounds.add(f"{name}, to its end", [whole])
        times = await starter.imports(_SUBJECTS["exec"])
    bench.ratio(BARE, rounds, "exec", "python")
    bench.ratio(TRIO, rounds, "exec", "import trio")
    first, whole = rounds.best("exec"), rounds.best("exec, to its end")
    bench.note(f"first line {show_time(first)}, end of a turn {show_time(whole)}")
    most = ", ".join(f"{name} {show_time(us / 1e6)}" for name, us in times.most_common(SHOWN))
    bench.note(f"imports before it, traced: {show_time(times.total() / 1e6)}; {most}")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("start", CLAIMS, measure)
