"""Bad input on every door: one clear error with its code, no result on stdout, nothing lost."""

import socket

import pytest

from tests.cli.harness import User
from turnlog.frontends.cli import run
from turnlog.runtime.scripted_model.script import Response

PROVIDER = """\
model = "m"
model_provider = "local"
sandbox_mode = "danger-full-access"

[model_providers.local]
base_url = "{url}"
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("-c", "modle=x"), 'Did you mean "model"?', "config_invalid"),
        (("-c", "model_provider=nope"), 'there is no provider "nope"', "config_invalid"),
        (("-p", "nope"), "there is no profile 'nope'", "config_invalid"),
        (("-C", "nowhere"), "nowhere is not a folder", "input_unreadable"),
        (("--add-dir", "nowhere"), "nowhere is not a folder", "input_unreadable"),
        (("-i", "."), "the image . cannot be read: it is not a regular file", "input_unreadable"),
        (("-i", "no.png"), "cannot be read: No such file", "input_unreadable"),
        (("--output-schema", "."), "the output schema . cannot be read", "input_unreadable"),
        (("--output-schema", "bad.json"), "bad.json is not a JSON object", "input_unreadable"),
        (("-m", "\udcff"), "settings.model: '\\udcff' is not Unicode text", "argument_invalid"),
        (("-o", "."), ". is a folder; name a file", "output_unwritable"),
        (("-o", "no/where"), "is no folder, so where cannot", "output_unwritable"),
    ],
)
async def test_a_run_that_cannot_begin_says_why(
    user: User, words: tuple[str, ...], said: str, code: str
) -> None:
    (user.cwd / "bad.json").write_text("[1]")
    outcome = await user.run("exec", "--json", *words, "go")
    [line] = outcome.lines
    assert (outcome.code, line["type"], line["code"]) == (1, "error", code)
    _, error = outcome.err.splitlines()
    assert error == f"Error: {line['message']} [{code}]"
    assert said in error
    assert not (user.home / "store").exists()


async def test_a_wrong_key_in_a_file_is_named_with_its_file(user: User) -> None:
    user.configure('sandbox_mod = "read-only"')
    for words in (("config",), ("exec", "go"), ("fork", "x")):
        outcome = await user.run(*words)
        assert (outcome.code, outcome.out) == (1, "")
    user.configure("model = ")
    outcome = await user.run("config")
    assert f"{user.home}/config.toml, line 1: this is not TOML" in outcome.err


async def test_a_missing_key_fails_the_turn_and_says_what_to_set(user: User) -> None:
    user.configure(PROVIDER.format(url="http://127.0.0.1:9/v1") + 'env_key = "MY_KEY"')
    outcome = await user.run("exec", "--json", "go")
    assert [line["type"] for line in outcome.lines] == [
        "thread.started",
        "turn.started",
        "error",
        "turn.failed",
    ]
    assert "the environment variable MY_KEY is not set" in outcome.lines[-1]["error"]["message"]
    assert (outcome.code, outcome.err.endswith("[credential_missing]\n")) == (1, True)


async def test_an_unreachable_server_fails_the_turn_and_the_session_continues(user: User) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        user.configure(PROVIDER.format(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))
        outcome = await user.run("exec", "--json", "go")
    assert (outcome.code, outcome.lines[-1]["type"]) == (1, "turn.failed")
    assert outcome.err.endswith("[connection_failed]\n")
    async with user.model("There."):
        again = await user.run("exec", "--json", "resume", outcome.thread, "again")
    assert (again.code, again.lines[-1]["type"]) == (0, "turn.completed")


@pytest.mark.parametrize(
    "words", [("exec", "go"), ("sessions",), ("show", "x"), ("fork", "x"), ("doctor",)]
)
async def test_a_file_in_the_stores_place_is_said_to_be_one(
    user: User, words: tuple[str, ...]
) -> None:
    (user.home / "store").write_text("mine")
    outcome = await user.run(*words)
    assert (outcome.code, "Traceback" in outcome.err) == (1, False)
    assert "is a file. A store is a folder" in outcome.err + outcome.out
    assert (user.home / "store").read_text() == "mine"


async def test_unknown_sessions_are_said_to_be_so(user: User) -> None:
    async with user.model("done"):
        await user.run("exec", "--json", "go")
    for words in (("exec", "resume", "zzz", "go"), ("exec", "fork", "zzz"), ("show", "zzz")):
        outcome = await user.run(*words)
        assert (outcome.code, outcome.out) == (1, "")
        assert "there is no session 'zzz'" in outcome.err
        assert outcome.err.endswith("[session_not_found]\n")


async def test_a_bug_is_told_in_one_line_and_with_its_traceback_when_asked_for(user: User) -> None:
    async with user.model(Response(status=200, body="not a stream")):
        outcome = await user.run("exec", "go")
    assert (outcome.code, "Traceback" in outcome.err) == (1, False)
    debug = await user.run("show", "x", env={"TURNLOG_DEBUG": "1"})
    assert debug.code == 1
    assert "Traceback (most recent call last)" in debug.err


async def test_a_script_that_cannot_be_read_is_named(user: User) -> None:
    (user.cwd / "bad.json").write_text('[{"mesage": "x"}]')
    for words in (("bad.json",), ("none.json",), (".",)):
        outcome = await user.run("scripted-model", *words)
        assert (outcome.code, outcome.out) == (1, "")
        assert words[0] in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("exec", "-c", "nonsense", "go"), "-c nonsense: expected KEY=VALUE"),
        (("undo", "x", "-c", "=1"), "-c =1: expected KEY=VALUE"),
        (("show", "x", "--limit", "0"), "0 is not in the range x>=1"),
        (("export", "x", "--redact", "["), "'[' is no regular expression"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_on_every_command(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.startswith(f"Usage: turnlog {words[0]} ")) == ("", True)
    assert said in told.err
