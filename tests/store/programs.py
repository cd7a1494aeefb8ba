"""Small programs that tests run as processes of their own: `python -m tests.store.programs NAME`.

Each says on standard output, a line at a time, how far it is.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.store.support import Stream, start, text_of, write
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.write_turn import nobody_writes


def say(*words: object) -> None:
    print(*words, flush=True)


async def own(path: Path) -> None:
    """Hold a session of one event; append each line of the input; release at its end."""
    async with open_log(path) as log:
        stream, fence = await start(log, "first")
        say(stream.session, os.getpid())
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            await write(log, stream, fence, line.rstrip("\n"))


async def follow(path: Path, session: str) -> None:
    """Say each event of a session that others write, until one says `end`."""
    async with open_log(path, read_only=True) as log:
        async for event in log.follow(SessionId(session)):
            say(text_of(event))
            if text_of(event) == "end":
                return


async def append(path: Path, session: str) -> None:
    """Append batches of 1 to 16 events for ever; say each head that is stored."""
    async with open_log(path) as log:
        claim = await log.claim(SessionId(session))
        stream = Stream(SessionId(session), claim.head)
        say("ready")
        while True:
            first = stream.head.sequence
            texts = [f"event {first + n}" for n in range(1, 2 + first % 16)]
            await write(log, stream, claim.fence, *texts)
            say(stream.head.sequence)


async def fork(path: Path) -> None:
    """Use the log in a process that was forked while it was open."""
    async with open_log(path) as log:
        stream, fence = await start(log, "a")
        if os.fork() == 0:
            for use in (
                lambda: log.append(stream.session, stream.batch("b"), fence=fence),
                lambda: log.reader.head(stream.session),
            ):
                try:
                    use()
                except TurnlogError as error:
                    say(error)
            os._exit(0)
        await trio.to_thread.run_sync(os.wait)


async def hold(path: Path) -> None:
    """Keep writers waiting until killed."""
    with nobody_writes(path):
        say("holding")
        await trio.sleep_forever()


async def read_as(path: Path, user: str, session: str) -> None:
    """Say a session's events, as a user that may not write."""
    os.setgroups([])
    os.setresgid(int(user), int(user), int(user))
    os.setresuid(int(user), int(user), int(user))
    async with open_log(path, read_only=True) as log:
        say(len(await log.sessions()), await log.holder(SessionId(session)))
        for event in await log.read(SessionId(session)):
            say(text_of(event))
    try:
        async with open_log(path):
            say("could write")
    except TurnlogError as error:
        say(error)


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {
    program.__name__: program for program in (own, follow, append, fork, hold, read_as)
}

if __name__ == "__main__":
    trio.run(PROGRAMS[sys.argv[1]], Path(sys.argv[2]), *sys.argv[3:])
