"""Several containers on one store, each with its own process 1; stores that can only be read."""

import os
import shlex
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.errors import raises_code
from tests.store.processes import ROOT, Running, attending, command, running
from tests.store.support import Stream, start, texts, write
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import SessionId
from turnlog.runtime.store.lmdb.doctor import examine_path
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.suitability import DATA_FILE

NOBODY = 65534
APART = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]


def namespaces_are_allowed() -> bool:
    return subprocess.run([*APART, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    not namespaces_are_allowed(), reason="NOT RUN: this machine forbids user namespaces"
)


@asynccontextmanager
async def apart(name: str, *arguments: object) -> AsyncGenerator[Running]:
    """Run a program of `tests.store.programs` as process 1 of namespaces of its own."""
    process = await trio.lowlevel.open_process(
        [*APART, *command(name, *arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    async with attending(process) as program:
        yield program


async def test_engines_with_the_same_process_id_share_a_store(tmp_path: Path) -> None:
    async with apart("own", tmp_path) as one, apart("own", tmp_path) as other:
        owners = [one, other]
        sessions = [(await owner.line()).split() for owner in owners]
        assert [pid for _, pid in sessions] == ["1", "1"]
        for number in range(20):
            for owner in owners:
                await owner.tell(f"event {number}")
        async with open_log(tmp_path) as log:
            for session, _ in sessions:
                with raises_code(ErrorCode.SESSION_BUSY, match="process 1 on "):
                    await log.claim(SessionId(session))
        assert [await owner.finish() for owner in owners] == [0, 0]
    async with open_log(tmp_path) as log:
        expected = ["first", *(f"event {number}" for number in range(20))]
        for session, _ in sessions:
            assert texts(await log.read(SessionId(session))) == expected
            await log.claim(SessionId(session))
    assert examine_path(tmp_path).findings == ()


async def test_writers_with_the_same_process_id_are_killed_and_lose_nothing(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        sessions = [(await start(log))[0].session for _ in range(3)]
    for _ in range(3):
        acknowledged: list[int] = []
        async with (
            apart("append", tmp_path, sessions[0]) as a,
            apart("append", tmp_path, sessions[1]) as b,
            apart("append", tmp_path, sessions[2]) as c,
        ):
            for writer in (a, b, c):
                assert await writer.line() == "ready"
            for writer in (a, b, c):
                said = [int(await writer.line()) for _ in range(10)]
                acknowledged.append(said[-1])
            for writer in (a, b, c):
                await writer.kill()
        async with open_log(tmp_path, read_only=True) as log:
            for session, last in zip(sessions, acknowledged, strict=True):
                head = await log.head(session)
                assert head.sequence >= last
                found = texts(await log.read(session, limit=10_000))
                assert found == [f"event {n}" for n in range(1, head.sequence + 1)]
    assert examine_path(tmp_path).findings == ()


async def test_a_process_of_another_namespace_follows_and_a_session_is_taken_over(
    tmp_path: Path,
) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "a")
        async with apart("follow", tmp_path, stream.session) as follower:
            assert await follower.line() == "a"
            await write(log, stream, fence, "end")
            assert await follower.lines() == ["end"]
        async with apart("own", tmp_path) as owner:
            session = SessionId((await owner.line()).split()[0])
            with raises_code(ErrorCode.SESSION_BUSY):
                await log.claim(session)
            await owner.kill()
            assert await owner.lines() == []  # its end of the pipe is closed: process 1 is gone
            claim = await log.claim(session)
            await write(log, Stream(session, claim.head), claim.fence, "mine now")
            assert texts(await log.read(session)) == ["first", "mine now"]


# --- stores that can only be read -------------------------------------------------------------


async def test_a_read_only_mount_that_others_write_is_read_without_a_fault(tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        stream, fence = await start(log, "first")
        mounted = f"mount --bind -o ro {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}"
        reader = shlex.join(command("follow", tmp_path, stream.session))
        process = await trio.lowlevel.open_process(
            [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                f"{mounted} && {reader}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        async with attending(process) as follower:
            assert await follower.line() == "first"
            written = [f"event {number}" for number in range(300)]
            for text in written:
                await write(log, stream, fence, text)
            await write(log, stream, fence, "end")
            assert await follower.lines() == [*written, "end"]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root may become another user")
async def test_a_store_of_another_user_is_read_and_not_written(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    async with open_log(tmp_path) as log:
        stream, _ = await start(log, "a", "b")
    (tmp_path / DATA_FILE).chmod(0o644)
    async with running("read_as", tmp_path, NOBODY, stream.session) as reader:
        assert await reader.line() == "1 None"
        assert [await reader.line(), await reader.line()] == ["a", "b"]
        assert "What is in the store can be read." in await reader.line()
        assert await reader.finish() == 0
