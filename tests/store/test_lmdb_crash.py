"""What was acknowledged is never lost: processes killed, power cut, disks full."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.errors import raises_code
from tests.store.processes import running
from tests.store.support import Stream, new_session, start, texts, write
from turnlog.actors.ports import Head, Refused, Stored, Unknown
from turnlog.protocol.envelope import GENESIS
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import StorePaused
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.doctor import examine, examine_path
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

KILLS = 20
PAGE = 4096
META_PAGES = 2


# --- kill -9 ------------------------------------------------------------------------------------


async def killed_at_random(path: Path, dice: random.Random) -> None:
    """Kill one writer after another; after each, everything acknowledged is there."""
    async with open_log(path) as log:
        session = (await start(log))[0].session
    acknowledged = 0
    for number in range(KILLS // 2):
        async with running("append", path, session) as writer:
            assert await writer.line() == "ready"
            for _ in range(dice.randrange(25)):
                acknowledged = int(await writer.line())
            await writer.kill()
            said = await writer.lines()  # acknowledged before the kill, and not read yet
            acknowledged = int(said[-1]) if said else acknowledged
        async with open_log(path, read_only=True) as log:
            head = await log.head(session)
            assert head.sequence >= acknowledged
            events = await log.read(session, limit=10_000)
            assert texts(events) == [f"event {n}" for n in range(1, head.sequence + 1)]
            heads = [Head(0, GENESIS, 0)]  # the first may be killed before it has written
            heads += [Head(event.sequence, event.digest, event.time_us) for event in events]
            assert heads[-1] == head
            assert examine(log.environment).findings == ()
        if number % 5 == 0:
            assert examine_path(path).findings == ()


async def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    async with trio.open_nursery() as nursery:
        for number in range(2):
            dice = random.Random(seed + number)
            nursery.start_soon(killed_at_random, tmp_path / str(number), dice)


# --- power cut ----------------------------------------------------------------------------------


def cut_power(before: bytes, after: bytes, dice: random.Random) -> bytes:
    """Return the file after a cut: any of the commit's data pages, and the old meta pages."""
    after = after.ljust(len(before), b"\0")
    file = bytearray(before.ljust(len(after), b"\0"))
    share = dice.choice([0.0, 0.3, 0.7, 1.0])
    for start_of in range(META_PAGES * PAGE, len(after), PAGE):
        page = slice(start_of, start_of + PAGE)
        if before[page] != after[page] and dice.random() < share:
            file[page] = after[page]
    return bytes(file)


async def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path) -> None:
    dice = random.Random(7)
    data = tmp_path / "store" / "data.mdb"
    files: list[bytes] = []
    heads: list[dict[SessionId, Head]] = []
    async with open_log(tmp_path / "store") as log:
        streams = [await start(log) for _ in range(3)]
        for number in range(61):
            stream, fence = streams[number % 3]
            size = dice.choice([1, 20, 2000, 9000])
            if number == 30:
                await log.fork(stream.session, 5, new_session())
            await write(log, stream, fence, *[f"{number} " * size] * (1 + number % 5))
            files.append(data.read_bytes())
            heads.append({stream.session: stream.head for stream, _ in streams})
    for number in range(60):
        place = tmp_path / f"cut {number}"
        place.mkdir()
        (place / "data.mdb").write_bytes(cut_power(files[number], files[number + 1], dice))
        async with open_log(place) as log:
            assert {session: await log.head(session) for session in heads[number]} == heads[number]
            assert examine(log.environment).findings == ()
            stream, _ = streams[number % 3]
            claim = await log.claim(stream.session)
            await write(log, Stream(stream.session, claim.head), claim.fence, "continued")


# --- disk full ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def fill(log: LmdbLog, stream: Stream, fence: int) -> tuple[Head, list[object]]:
    """Append until the disk is full; return the last stored head, and the fates after it."""
    stored = stream.head
    while True:
        batches = [(stream.batch(f"{n} " * 1500), stream.head) for n in range(8)]
        tickets = [log.append(stream.session, batch, fence=fence) for batch, _ in batches]
        fates = [await ticket.settled() for ticket in tickets]
        for fate, (_, head) in zip(fates, batches, strict=True):
            if fate != Stored():
                return stored, [fate for fate in fates if fate != Stored()]
            stored = head


async def test_a_full_disk_pauses_the_log_and_space_resumes_it(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    async with open_log(small_disk / "store", map_size=1 << 20) as log:
        stream, fence = await start(log, "a")
        other, other_fence = await start(log, "other")
        stored, fates = await fill(log, stream, fence)
        assert isinstance(fates[0], Unknown)
        assert all(isinstance(fate, (Unknown, Refused)) for fate in fates)
        assert log.paused
        with pytest.raises(StorePaused, match="Free some space"):
            log.append(other.session, other.batch("b"), fence=other_fence)
        with raises_code(ErrorCode.SESSION_BUSY):
            await log.claim(stream.session)
        assert await log.head(stream.session) == stored
        assert (await log.read(stream.session, after=stored.sequence - 1))[
            0
        ].digest == stored.digest
        assert examine(log.environment).findings == ()

        ballast.unlink()
        with trio.fail_after(60):
            await log.room()
        stream.head, other.head = stored, await log.head(other.session)
        await write(log, stream, fence, "again")
        await write(log, other, other_fence, "too")
        assert await log.head(stream.session) == stream.head
    assert examine_path(small_disk / "store").findings == ()


async def test_an_awaited_write_that_succeeds_resumes_the_log(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    async with open_log(small_disk / "store") as log:
        stream, fence = await start(log, "a")
        stored, _ = await fill(log, stream, fence)
        ballast.unlink()
        await log.create(new_session())
        assert log.paused is None
        stream.head = stored
        await write(log, stream, fence, "again")


async def test_a_log_can_be_closed_while_its_disk_is_full(small_disk: Path) -> None:
    async with open_log(small_disk / "store") as log:
        stream, fence = await start(log, "a")
        stored, _ = await fill(log, stream, fence)
        (small_disk / "rest").write_bytes(b"")
    async with open_log(small_disk / "store", read_only=True) as log:
        assert await log.head(stream.session) == stored
