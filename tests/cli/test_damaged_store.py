"""Commands on a store with damaged pages: no signal ends one, and sound sessions are used."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import trio

from tests.cli.harness import User
from tests.store.test_torture import PAGE, spoil

SESSIONS = 3
SEEDS = range(3)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, list[str]]:
    """Return a user with several sessions."""
    user = User(tmp_path_factory.mktemp("damaged"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> list[str]:
        async with user.model(*["It is done."] * SESSIONS):
            return [(await user.run("exec", "--json", f"go {n}")).thread for n in range(SESSIONS)]

    return user, trio.run(run)


def damaged(lived: tuple[User, list[str]], folder: Path, data: bytes) -> User:
    """Return a user whose store has this file."""
    user = User(folder)
    shutil.copytree(lived[0].home, user.home)
    user.cwd.mkdir(exist_ok=True)
    (user.home / "store" / "data.mdb").write_bytes(data)
    return user


def whole(lived: tuple[User, list[str]]) -> bytes:
    return (lived[0].home / "store" / "data.mdb").read_bytes()


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_command_ends_by_a_signal_and_a_repair_saves_what_is_sound(
    tmp_path: Path, lived: tuple[User, list[str]], seed: int
) -> None:
    user = damaged(lived, tmp_path, spoil(whole(lived), random.Random(seed)))
    sound = list[str]()
    for session in lived[1]:
        outcome = await user.run("replay", session)
        assert outcome.code in (0, 1, 4), outcome.err
        shown = await user.run("show", session, "--json")
        assert shown.code in (0, 1), shown.err
        sound += [session] if outcome.code == shown.code == 0 else []
    assert (await user.run("sessions")).code in (0, 1)
    report = json.loads((await user.run("doctor", "--json", "--repair")).out)
    assert report["findings"] or len(sound) == SESSIONS
    named = {finding["session"] for finding in report["findings"]}
    async with user.model(*["Again."] * SESSIONS):
        for session in sound:
            resumed = await user.run("exec", "resume", session, "continue")
            assert resumed.code == 0 or session in named, resumed.err
    listed = [row["id"] for row in (await user.run("sessions", "--json")).lines]
    assert set(sound) <= set(listed)


async def test_a_store_that_was_cut_short_is_read_as_far_as_it_goes(
    tmp_path: Path, lived: tuple[User, list[str]]
) -> None:
    data = whole(lived)
    user = damaged(lived, tmp_path, data[: len(data) // PAGE // 2 * PAGE])
    refused = await user.run("delete", "--yes", lived[1][0])
    assert refused.code == 1
    assert refused.err.endswith("[store_damaged]\n")
    shown = [(await user.run("show", session)).out for session in lived[1]]
    assert any(shown)
    report = json.loads((await user.run("doctor", "--json")).out)
    assert "cut off" in report["findings"][0]["what"]
    assert (await user.run("doctor", "--repair")).code == 4
    assert len(list((user.home / "store").glob("damaged-*.mdb"))) == 1
    assert (await user.run("doctor")).code in (0, 4)


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT RUN: root may write everywhere")
async def test_the_doctor_says_that_a_store_can_only_be_read(
    tmp_path: Path, lived: tuple[User, list[str]]
) -> None:
    user = damaged(lived, tmp_path, whole(lived))
    (user.home / "store").chmod(0o500)
    (user.home / "store" / "data.mdb").chmod(0o400)
    told = await user.run("doctor")
    assert told.code == 0
    assert "can read the store and not write it" in told.out


async def test_an_empty_file_is_left_to_a_backup_and_no_repair_is_promised(
    tmp_path: Path, lived: tuple[User, list[str]]
) -> None:
    user = damaged(lived, tmp_path, b"")
    store = user.home / "store"
    for words in (("doctor",), ("doctor", "--repair")):
        done = await user.run(*words)
        assert done.code == 4
        assert done.err == ""
        assert done.out.splitlines()[1:4] == [
            "0 sessions, 0 events: 1 finding.",
            f"- the store: {store} was a store, and its data.mdb is gone or empty. Restore it from "
            f"a backup; to begin again, remove {store}/engines.",
            "  Nothing is left of it that could be repaired.",
        ]
        assert "What can be repaired has been." not in done.out
    assert not (store / "repaired").exists()
