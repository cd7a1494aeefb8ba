"""LMDB's pitfalls, each with the test that shows us on the safe side of it."""

import gc
import os
import random
import string
from base64 import b64encode
from pathlib import Path

import trio

from tests.errors import raises_code
from tests.store.support import Stream, new_session, op, start, texts, write
from turnlog.actors.ports import Claim, Head, Stored
from turnlog.protocol.envelope import GENESIS
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.store.lmdb.environment import Environment
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log
from turnlog.runtime.store.lmdb.views import View

LARGE = "large " * 2000


def incompressible(size: int) -> str:
    return b64encode(os.urandom(size)).decode()


def last_txn(log: LmdbLog) -> int:
    return log.environment.states.newest().id()


async def test_sync_is_on_and_the_map_is_not_written(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        found = log.environment.mapped.flags()
        assert (found["sync"], found["metasync"]) == (True, True)
        assert (found["writemap"], found["map_async"]) == (False, False)


async def test_what_queues_together_is_committed_together(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log)
        before = last_txn(log)
        tickets = [log.append(stream.session, stream.batch("x"), fence=fence) for _ in range(500)]
        assert [await ticket.settled() for ticket in tickets] == [Stored()] * 500
        assert last_txn(log) - before <= 50


async def test_a_group_is_bounded_so_that_a_transaction_stays_small(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log)
        before = last_txn(log)
        for _ in range(8):
            batch = stream.batch(incompressible(2_000_000))
            log.append(stream.session, batch, fence=fence)
        await write(log, stream, fence, "last")
        assert last_txn(log) - before >= 4


async def test_events_are_never_overwritten(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a", "b")
        events = await log.read(stream.session)
        for sequence in range(3):
            batch = Stream(stream.session, Head(sequence, GENESIS, 0)).batch("forged")
            await log.append(stream.session, batch, fence=fence).settled()
        assert await log.read(stream.session) == events


async def test_the_map_grows_while_others_read(tmp_path: Path) -> None:
    async with open_log(tmp_path, map_size=1 << 20) as log:
        stream, fence = await start(log, "first")
        done = trio.Event()

        async def keep_reading() -> None:
            while not done.is_set():
                assert texts(await log.read(stream.session, limit=3))[0] == "first"

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(keep_reading)
            for _ in range(20):
                await write(log, stream, fence, incompressible(600_000))
            done.set()
        assert log.environment.map_size >= 16 << 20
        assert (await log.head(stream.session)).sequence == 21


async def test_one_batch_may_be_larger_than_the_map(tmp_path: Path) -> None:
    async with open_log(tmp_path, map_size=1 << 20) as log:
        stream, fence = await start(log)
        large = [incompressible(1_000_000) for _ in range(8)]
        await write(log, stream, fence, *large)
        assert texts(await log.read(stream.session)) == large


async def test_pages_of_old_versions_are_used_again(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log)
        follower = log.follow(stream.session)
        data = tmp_path / "data.mdb"
        sizes: list[int] = []
        for number in range(300):
            await log.leave(stream.session, op("same", "x" * 3000))
            await write_done(log, stream, fence)
            await anext(follower)
            if number % 100 == 99:
                sizes.append(data.stat().st_size)
        assert sizes[2] - sizes[1] < 100 * 3 * 4096


async def write_done(log: LmdbLog, stream: Stream, fence: int) -> None:
    batch = stream.batch("x", done_ops=("same",))
    assert await log.append(stream.session, batch, fence=fence).settled() == Stored()


async def test_a_large_text_is_stored_once_and_packed(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        noise = "".join(random.Random(1).choices(string.punctuation + string.ascii_letters, k=6000))
        stream, fence = await start(log, LARGE, LARGE, noise)
        other, _ = await start(log, LARGE)

        def stored(txn: View) -> list[tuple[bytes, int]]:
            table = log.environment.tables.blobs
            values = txn.cursor(db=table).iternext(keys=False, values=True)
            return sorted((value[:1], len(value)) for value in values)

        found = log.environment.read(stored)
        assert [codec for codec, _ in found] == [b"\0", b"\1"]  # noise is not worth packing
        assert found[0][1] == len(noise) + 1
        assert found[1][1] < len(LARGE) / 5
        assert texts(await log.read(stream.session)) == [LARGE, LARGE, noise]
        await write(log, stream, fence, "after")
        assert texts(await log.read(other.session)) == [LARGE]


async def test_a_fork_costs_one_small_commit_at_any_length(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log)
        for _ in range(5):
            await write(log, stream, fence, *["event"] * 4000)
        before, size = last_txn(log), (tmp_path / "data.mdb").stat().st_size
        await log.fork(stream.session, 19_000, new_session())
        assert last_txn(log) - before == 1
        assert (tmp_path / "data.mdb").stat().st_size - size <= 16 * 4096


async def test_a_long_session_is_deleted_in_small_steps_down_to_its_forks(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log)
        for _ in range(3):
            await write(log, stream, fence, *["event"] * 4000)
        child = new_session()
        await log.fork(stream.session, 2500, child)

        def events(txn: View) -> int:
            keys = txn.cursor(db=log.environment.tables.events).iternext(keys=True, values=False)
            return len(list(keys))

        await log.release(Claim(stream.session, fence, stream.head))
        await log.delete(stream.session)
        assert log.environment.read(events) == 2500
        assert len(await log.read(child, limit=5000)) == 2500
        await log.delete(child)
        assert log.environment.read(events) == 0


async def test_closing_frees_the_store_for_another_opening(tmp_path: Path) -> None:
    for number in range(3):
        async with open_log(tmp_path) as log:
            await start(log, "a")
            assert len(await log.sessions()) == number + 1
    gc.collect()
    assert [*(tmp_path / "engines").iterdir()] == []


async def test_a_claim_that_was_made_reaches_even_a_cancelled_task(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        session = new_session()
        claims: list[Claim] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            claims.append(await log.create(session))
        assert claims == [Claim(session, 1, Head(0, GENESIS, 0))]


async def test_a_backup_goes_to_an_empty_folder(tmp_path: Path) -> None:
    async with open_log(tmp_path / "store") as log:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        with raises_code(ErrorCode.STORE_UNSUITABLE, match="not empty"):
            await log.backup(tmp_path / "full")
        with raises_code(ErrorCode.STORE_UNSUITABLE, match="cannot write"):
            await log.backup(tmp_path / "full" / "file")


def test_a_store_is_private_to_its_user(tmp_path: Path) -> None:
    environment = Environment.open(tmp_path / "a" / "store")
    environment.close()
    assert (tmp_path / "a" / "store").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "store" / "data.mdb").stat().st_mode & 0o777 == 0o600
