"""`turnlog diff`: its exit codes, and what people and programs are shown."""

import pytest
import trio

from tests.cli.harness import User
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.portable import write_portable
from turnlog.runtime.store.lmdb.log import open_log


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, str, str, int]:
    """Return a user, a session of two turns, a fork with another second turn, and the cut."""
    user = User(tmp_path_factory.mktemp("diff"))
    user.home.mkdir()
    user.cwd.mkdir()

    async def run() -> tuple[str, str, int]:
        async with user.model("first", "second", "other"):
            one = (await user.run("exec", "--json", "begin")).thread
            await user.run("exec", "resume", one, "--json", "go left")
            events = await user.show(one)
            cut = next(e["sequence"] for e in events if e["kind"] == "turn_ended")
            other = (await user.run("fork", one, "--at", str(cut))).out.strip()
            await user.run("exec", "resume", other, "--json", "go right")
            return one, other, cut

    return user, *trio.run(run)


async def test_a_fork_that_went_another_way_is_told_in_json(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, other, cut = parted
    outcome = await user.run("diff", one, other, "--json")
    head, *timeline = outcome.lines
    assert outcome.code == 4
    assert (head["left"], head["right"], head["relation"]) == (one, other, "parted")
    assert (head["common"], head["first_difference"]) == (cut, cut + 1)
    left, right = await user.show(one), await user.show(other)
    changed = [entry for entry in timeline if entry["change"] == "changed"]
    prompt = next(entry for entry in changed if entry["left"]["kind"] == "op_received")
    assert prompt["left"] == left[prompt["left"]["sequence"] - 1]
    assert prompt["right"] == right[prompt["right"]["sequence"] - 1]
    assert prompt["differences"] == [
        {"path": ["op", "items", 0, "text"], "left": "go left", "right": "go right"}
    ]
    shown = sum(
        entry["left"][1] - entry["left"][0] + 1 if entry["change"] == "same" else 1
        for entry in timeline
        if entry["left"]
    )
    assert shown == len(left) - cut


async def test_people_see_where_it_begins_and_what_changed(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, other, cut = parted
    outcome = await user.run("diff", one, other)
    assert outcome.code == 4
    assert f"Equal: the first {cut} events. They part at event {cut + 1}; " in outcome.out
    assert "- go left\n" in outcome.out
    assert "+ go right\n" in outcome.out
    assert "that say the same" in outcome.out
    assert "\033" not in outcome.out
    short = await user.run("diff", one, other, "--limit", "1")
    assert short.out.endswith("… and more: --limit shows more lines, --json everything.\n")


async def test_a_session_and_a_new_fork_of_it_are_equal(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, _, cut = parted
    fork = (await user.run("fork", one)).out.strip()
    begin = (await user.run("fork", one, "--at", str(cut))).out.strip()
    same = await user.run("diff", one, one)
    assert (same.code, "byte by byte" in same.out) == (0, True)
    first, *_ = (await user.run("diff", one, fork, "--json")).lines
    shorter = await user.run("diff", begin, one, "--json")
    # A fork may hold events of its own, from the moment at which it was made.
    assert first["common"] == len(await user.show(one))
    assert (shorter.code, shorter.lines[0]["common"]) == (4, cut)


async def test_a_file_and_the_session_that_it_was_made_of_are_equal(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, other, cut = parted
    async with open_log(user.home / "store", read_only=True) as log:
        records = await log.read(SessionId(one))
    with (user.cwd / "one.jsonl").open("w") as stream:
        write_portable(records, stream)
    same = await user.run("diff", "one.jsonl", one)
    assert (same.code, "byte by byte" in same.out) == (0, True)
    assert (await user.run("diff", "one.jsonl", "one.jsonl")).code == 0
    different = await user.run("diff", other, "./one.jsonl", "--json")
    assert (different.code, different.lines[0]["common"]) == (4, cut)


async def test_a_file_name_that_is_not_utf_8_is_shown_as_json(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, *_ = parted
    name = "not-utf-8-\udcff.turnlog"
    assert (await user.run("export", one, "-o", name)).code == 0
    outcome = await user.run("diff", name, one, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.lines[0]["left"] == name


async def test_an_error_has_another_exit_code_than_a_difference(
    parted: tuple[User, str, str, int],
) -> None:
    user, one, *_ = parted
    missing = await user.run("diff", one, "nothing")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.endswith("[session_not_found]\n")
    (user.cwd / "broken.jsonl").write_text("not a session\n")
    broken = await user.run("diff", "broken.jsonl", one)
    assert (broken.code, broken.out) == (1, "")
    assert broken.err.endswith("[portable_invalid]\n")
    for unreadable in ("missing.turnlog", "./missing", "."):
        nowhere = await user.run("diff", one, unreadable)
        assert (nowhere.code, nowhere.out) == (1, "")
        assert nowhere.err.endswith("[input_unreadable]\n")
    assert (await user.run("diff", one)).code == 2


async def test_without_a_store_there_is_nothing_to_compare(user: User) -> None:
    outcome = await user.run("diff", "a", "b")
    assert (outcome.code, outcome.err.endswith("[session_not_found]\n")) == (1, True)
