"""Where a prompt comes from: the argument, stdin, or both; and what cannot be one."""

import os

import pytest
import trio

from tests.cli.harness import TURNLOG, User
from turnlog.runtime.scripted_model.server import ScriptedServer


def prompt_of(server: ScriptedServer, request: int) -> str:
    """Return the last text of what the model was sent."""
    text: str = server.requests[request].body["input"][-1]["content"][-1]["text"]
    return text


async def test_the_prompt_is_stdin_verbatim_or_the_argument_with_stdin_after_it(
    user: User,
) -> None:
    given: list[tuple[tuple[str, ...], bytes, str]] = [
        ((), b"\xef\xbb\xbfline\r\nlast\n", "line\r\nlast\n"),
        (("-",), "ünï".encode(), "ünï"),
        (("do it",), b"", "do it"),
        (("do it",), b" \n", "do it"),
        (("do it",), b"a\nb\n", "do it\n\n<stdin>\na\nb\n</stdin>"),
        (("do it",), b"a", "do it\n\n<stdin>\na\n</stdin>"),
        (("--", "--json"), b"", "--json"),
    ]
    async with user.model("done", loop=True) as server:
        outcomes = [await user.run("exec", *words, stdin=stdin) for words, stdin, _ in given]
        prompts = [prompt_of(server, number) for number in range(len(given))]
    assert prompts == [prompt for _, _, prompt in given]
    assert [outcome.code for outcome in outcomes] == [0] * len(given)
    notes = [outcome.err.splitlines()[0] for outcome in outcomes]
    assert notes[0] == notes[1] == "Reading prompt from stdin..."
    assert notes[2] == "Reading additional input from stdin..."


@pytest.mark.parametrize(
    ("words", "stdin", "error"),
    [
        ((), b"", "Error: No prompt provided via stdin."),
        (("-",), b"\n", "Error: No prompt provided via stdin."),
        (("",), b"", "Error: the prompt is empty."),
        ((), b"ok \xff", "Error: stdin is not UTF-8: byte 3 is 0xff."),
        ((os.fsdecode(b"\xff"),), b"", "Error: the prompt is not UTF-8."),
    ],
)
async def test_without_a_usable_prompt_nothing_begins(
    user: User, words: tuple[str, ...], stdin: bytes, error: str
) -> None:
    outcome = await user.run("exec", "--json", *words, stdin=stdin)
    assert (outcome.code, [line["type"] for line in outcome.lines]) == (1, ["error"])
    assert outcome.err.splitlines()[1].startswith(error)
    assert not (user.home / "store").exists()


async def test_stdin_is_drained_before_an_error_is_told(user: User) -> None:
    user.configure("modle = 1")
    outcome = await user.run("exec", stdin=b"x" * (20 << 20))
    assert (outcome.code, outcome.out) == (1, "")
    assert "stdin has more than 16777216 bytes" in outcome.err


async def test_closed_standard_streams_do_no_harm(user: User) -> None:
    async with user.model("done"):
        command = f"{' '.join(TURNLOG)} exec go <&- >&- 2>&-"
        await trio.run_process(["/bin/sh", "-c", command], cwd=user.cwd, env=user.environment())
    outcome = await user.run("doctor")
    assert (outcome.code, outcome.out.splitlines()[1].endswith("no damage.")) == (0, True)
