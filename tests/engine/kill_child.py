"""The program that is killed: `python -m tests.engine.kill_child HOME FOLDER URL [confined]`.

It runs one turn on a store on disk, and prints every event once it is published, a line at a
time: the session's id first, then sequence, digest and kind of each event.
"""

import sys
from pathlib import Path

import trio

from turnlog import open_engine
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ops import prompt
from turnlog.protocol.settings import SandboxMode
from turnlog.runtime.config.schema import Config, ProviderConfig


def config(url: str, sandbox: SandboxMode = "danger-full-access") -> Config:
    return Config(
        model_provider="local",
        model_providers={"local": ProviderConfig(url)},
        sandbox_mode=sandbox,
        approval_policy="never",
    )


def say(*words: object) -> None:
    print(*words, flush=True)


async def main(home: Path, folder: Path, url: str, sandbox: SandboxMode) -> None:
    async with open_engine(home=home, config=config(url, sandbox)) as engine:
        session = await engine.start(cwd=folder)
        say(session.id)

        async def show() -> None:
            async for publication in session.watch(after=0):
                if isinstance(publication, Recorded):
                    say(publication.sequence, publication.digest.hex(), publication.kind)
                    if publication.kind == "turn_ended":
                        nursery.start_soon(session.close)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            await session.submit(prompt("count"))


if __name__ == "__main__":
    chosen: SandboxMode = "workspace-write" if sys.argv[4:] else "danger-full-access"
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], chosen)
