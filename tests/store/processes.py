"""Running the programs of `tests.store.programs`."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60  # the machine may be busy


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.store.programs", name, *map(str, arguments)]


@attrs.define
class Running:
    """A process, whose lines are read as they come."""

    process: trio.Process
    _text: str = ""

    async def line(self) -> str:
        """Return the next line of its output; an empty text at the end."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE_S):
            while "\n" not in self._text:
                chunk = await self.process.stdout.receive_some()
                if not chunk:
                    return ""
                self._text += chunk.decode()
        line, _, self._text = self._text.partition("\n")
        return line

    async def lines(self) -> list[str]:
        """Return the rest of its output."""
        found: list[str] = []
        while line := await self.line():
            found.append(line)
        return found

    async def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text.encode() + b"\n")

    async def finish(self) -> int:
        """Close its input, and wait for its end."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def running(name: str, *arguments: object) -> AsyncGenerator[Running]:
    """Run a program; it is killed in the end if it still runs."""
    process = await trio.lowlevel.open_process(
        command(name, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    async with attending(process) as program:
        yield program


@asynccontextmanager
async def attending(process: trio.Process) -> AsyncGenerator[Running]:
    """Use a process that was started with pipes; it is killed in the end if it still runs."""
    try:
        yield Running(process)
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
