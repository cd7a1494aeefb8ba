"""Completion: of commands, options and sessions, in the shells that click knows."""

import shutil

import pytest
import trio

from tests.cli.harness import TURNLOG, User
from turnlog.frontends.cli import COMMANDS


async def completed(user: User, *words: str) -> dict[str, str]:
    """Return what fish is offered after these words, each with its description."""
    *before, typed = words
    env = {
        "_TURNLOG_COMPLETE": "fish_complete",
        "COMP_WORDS": " ".join(["turnlog", *before]),
        "COMP_CWORD": typed,
    }
    lines = (await user.run(env=env)).out.splitlines()
    pairs = [line.partition(",")[2].partition("\t") for line in lines if line]
    return {text: told for text, _, told in pairs}


async def test_commands_are_completed_with_what_they_do(user: User) -> None:
    assert await completed(user, "") == {name: line for name, (_, line) in COMMANDS.items()}
    assert await completed(user, "sh") == {
        "show": COMMANDS["show"][1],
        "shell": COMMANDS["shell"][1],
    }
    assert set(await completed(user, "help", "fo")) == {"fork"}


async def test_options_are_completed(user: User) -> None:
    assert set(await completed(user, "show", "--f")) == {"--follow", "--full"}
    assert set(await completed(user, "exec", "-s", "w")) == {"workspace-write"}


async def test_sessions_are_completed_by_name_and_by_id(user: User) -> None:
    async with user.model("one", "two"):
        first = (await user.run("exec", "--json", "tidy the docs")).thread
        second = (await user.run("exec", "--json", "find the bug")).thread
    await user.run("name", second, "bug")
    everything = {first[-8:]: "tidy the docs", "bug": "find the bug", "@last": "the newest session"}
    for words in (("show",), ("undo",), ("tree",), ("diff", first), ("exec", "resume")):
        assert await completed(user, *words, "") == everything, words
    assert set(await completed(user, "show", first[:30])) == {first}
    assert set(await completed(user, "show", second[-8:-3])) == {second[-8:]}
    assert set(await completed(user, "exec", "r")) == {"resume"}
    assert await completed(user, "exec", "resume", first, "") == {}


async def test_without_a_store_nothing_is_offered_and_nothing_is_said(user: User) -> None:
    assert set(await completed(user, "show", "")) == {"@last"}
    assert not list(user.home.iterdir())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_of_each_shell_can_be_read_by_it(user: User, shell: str) -> None:
    script = (await user.run("completion", shell)).out
    assert f"_TURNLOG_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        await trio.run_process([shell, "-n"], stdin=script.encode())


async def test_bash_completes_at_the_keyboard(user: User) -> None:
    script = (await user.run("completion", "bash")).out
    (bin_folder := user.root / "bin").mkdir()
    (bin_folder / "turnlog").write_text(f'#!/bin/sh\nexec {" ".join(TURNLOG)} "$@"\n')
    (bin_folder / "turnlog").chmod(0o755)
    asked = (
        f'PATH="{bin_folder}:$PATH"\n{script}\nCOMP_WORDS=(turnlog arch)\nCOMP_CWORD=1\n'
        '_turnlog_completion turnlog arch turnlog\necho "${COMPREPLY[@]}"\n'
    )
    done = await trio.run_process(
        ["bash"], stdin=asked.encode(), env=user.environment(), capture_stdout=True
    )
    assert done.stdout.decode().split() == ["archive"]
