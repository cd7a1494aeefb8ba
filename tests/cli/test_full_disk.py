"""What a user is told while the store's disk is full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import User
from tests.core.play import SESSION, Play
from tests.replay.recordings import written
from turnlog.runtime.scripted_model.script import call

MIB = 1 << 20
NOISE = "head -c 700000 /dev/urandom | base64 -w0"


@pytest.fixture
def small_home(user: User) -> Iterator[Path]:
    """Put the user's home on a file system of 8 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(user.home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield user.home
    subprocess.run(["umount", "-l", str(user.home)], check=True)


async def test_a_run_says_that_it_waits_for_the_disk_and_continues_once_there_is_room(
    user: User, small_home: Path
) -> None:
    noise = [call("exec_command", {"cmd": NOISE, "login": False})]
    async with user.model("Begun.", noise, "Done."):
        thread = (await user.run("exec", "--json", "begin")).thread
        ballast = small_home / "ballast"
        free = os.statvfs(small_home).f_bavail * os.statvfs(small_home).f_frsize
        ballast.write_bytes(bytes(free - MIB // 2))
        started = user.start("exec", "--json", "resume", thread, "go")
        told = await started.read_note()
        while not told.startswith("Waiting: "):
            assert told, "it ended, and did not wait"
            told = await started.read_note()
        assert "Free some space on its disk. Writing then resumes." in told
        ballast.unlink()
        outcome = await started.finished()
    assert (outcome.code, outcome.lines[-1]["type"]) == (0, "turn.completed")


async def test_an_import_that_the_disk_has_no_room_for_leaves_nothing(
    user: User, small_home: Path
) -> None:
    play = Play.started()
    play.talk("hi", os.urandom(MIB).hex())
    file = user.cwd / "large.turnlog"
    file.write_bytes(written(play.records))
    ballast = small_home / "ballast"
    free = os.statvfs(small_home).f_bavail * os.statvfs(small_home).f_frsize
    ballast.write_bytes(bytes(free - MIB // 2))
    failed = await user.run("import", str(file))
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.endswith(" Try again. [write_lost]\n")
    assert (await user.run("sessions", "--all", "--json")).lines == []
    ballast.unlink()
    assert (await user.run("import", str(file))).out == f"{SESSION}\n"
