"""Any damage to the file: no process ends by a signal, and what is not damaged can be used."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

import attrs
import pytest

from tests.store.support import Stream, texts, write
from turnlog.protocol.errors import StoreDamaged, StoreError, TurnlogError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.doctor import examine_path
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log
from turnlog.runtime.store.lmdb.moving import move_sound

PAGE: Final = 4096
ROUNDS: Final = 60
LARGE: Final = "large " * 2000


@attrs.frozen
class Made:
    """A store with several sessions, and what they say."""

    data: bytes
    said: dict[SessionId, list[str]]


async def make(path: Path) -> Made:
    dice = random.Random(3)
    async with open_log(path) as log:
        sessions = [SessionId(str(UUID(int=dice.getrandbits(128)))) for _ in range(9)]
        streams = [(Stream(session), (await log.create(session)).fence) for session in sessions[1:]]
        said: dict[SessionId, list[str]] = {stream.session: [] for stream, _ in streams}
        for number in range(160):
            stream, fence = dice.choice(streams)
            text = dice.choice(["short", LARGE + str(number % 5), "middle " * 100]) + str(number)
            await write(log, stream, fence, text)
            said[stream.session].append(text)
        parent = streams[0][0].session
        child = sessions[0]
        await log.fork(parent, 3, child)
        claim = await log.claim(child)
        await write(log, Stream(child, claim.head), claim.fence, "a fork")
        said[child] = [*said[parent][:3], "a fork"]
    return Made((path / "data.mdb").read_bytes(), said)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    import trio

    return trio.run(make, tmp_path_factory.mktemp("torture") / "store")


def spoil(data: bytes, dice: random.Random) -> bytes:
    """Return the file with one kind of damage."""
    file = bytearray(data)
    pages = len(file) // PAGE
    start_of = dice.randrange(pages) * PAGE
    match dice.randrange(6):
        case 0:
            file[start_of : start_of + PAGE] = bytes(PAGE)
        case 1:
            file[start_of : start_of + PAGE] = dice.randbytes(PAGE)
        case 2:
            for _ in range(dice.choice([1, 5, 50])):
                file[dice.randrange(len(file))] ^= 1 << dice.randrange(8)
        case 3:
            del file[max(2 * PAGE, start_of) + dice.randrange(PAGE) :]
        case 4:
            other = dice.randrange(pages) * PAGE
            file[start_of : start_of + PAGE] = file[other : other + PAGE]
        case _:  # in the numbers of a page
            file[start_of + dice.randrange(64)] = dice.randrange(256)
    return bytes(file)


async def sound_sessions(log: LmdbLog, made: Made) -> set[SessionId]:
    """Return the sessions that read as they were written; the others must fail by name."""
    sound = set[SessionId]()
    for session, said in made.said.items():
        try:
            found = texts(await log.read(session))
        except TurnlogError:
            continue
        if found == said:
            sound.add(session)
        else:
            assert found == said[: len(found)]  # cut short: the row is of an older state
    return sound


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_whatever_is_damaged_the_rest_can_be_used(
    tmp_path: Path, made: Made, seed: int
) -> None:
    dice = random.Random(seed)
    (tmp_path / "data.mdb").write_bytes(spoil(made.data, dice))
    try:
        async with open_log(tmp_path, read_only=True) as log:
            readable = await sound_sessions(log, made)
            await log.sessions()
    except StoreError:
        readable = set[SessionId]()
    found = examine_path(tmp_path)
    named = {finding.session for finding in found.findings if finding.session}
    if made.said.keys() - readable:
        assert not found.is_healthy
    try:
        async with open_log(tmp_path) as log:
            await continue_all(log, readable - named, readable & named)
    except StoreDamaged:
        moved = await move_sound(tmp_path)
        assert moved.kept.stat().st_mode & 0o777 == 0o600
        async with open_log(tmp_path) as log:
            assert await sound_sessions(log, made) >= readable
            await continue_all(log, readable - named, readable & named)
    async with open_log(tmp_path, read_only=True) as log:
        for session in readable - named:
            assert texts(await log.read(session)) == [*made.said[session], "continued"]


async def continue_all(log: LmdbLog, sound: set[SessionId], named: set[SessionId]) -> None:
    """Continue the sound sessions. One that the doctor names is refused, or continued, too."""
    for session in sound:
        claim = await log.claim(session)
        await write(log, Stream(session, claim.head), claim.fence, "continued")
    for session in named:
        with suppress(TurnlogError):
            await log.claim(session)
