"""Every command with `--json` prints the error that ends it as one more line, with its code."""

import json
from pathlib import Path

import pytest

from turnlog.frontends.cli import COMMANDS, run, turnlog
from turnlog.protocol.error_codes import ErrorCode

# What each command is called with where the store's folder is a file, besides --json.
WORDS = {
    "exec": ("go",),
    "approvals": (),
    "compact": ("x",),
    "review": ("x",),
    "sessions": (),
    "show": ("x",),
    "history": ("x",),
    "tree": (),
    "diff": ("x", "y"),
    "undo": ("x",),
    "redo": ("x",),
    "rerun": ("x",),
    "simulate": ("x",),
    "import": ("any",),
    "replay": ("x",),
    "check": ("nowhere",),
    "doctor": (),
    "config": ("-c", "modle=x"),
}


def names_with_json() -> list[str]:
    """Return the commands that take `--json`."""
    context = turnlog.make_context("turnlog", ["help"])
    commands = {name: turnlog.get_command(context, name) for name in COMMANDS}
    return [
        name
        for name, command in commands.items()
        if command is not None and any(option.name == "as_json" for option in command.params)
    ]


def test_each_command_with_json_is_tried() -> None:
    assert names_with_json() == list(WORDS)


@pytest.mark.parametrize("name", WORDS)
def test_an_error_is_the_last_line_and_has_its_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TURNLOG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").write_text("a file")
    assert run([name, *WORDS[name]]) == 1
    plain = capsys.readouterr()
    assert run([name, *WORDS[name], "--json"]) == 1
    told = capsys.readouterr()
    assert (plain.out, told.err) == ("", plain.err)
    line = json.loads(told.out.splitlines()[-1])
    assert list(line) == ["type", "message", "code"]
    assert line["type"] == "error"
    assert line["code"] in set(ErrorCode)
    assert told.err.endswith(f"Error: {line['message']} [{line['code']}]\n")


def test_a_wrong_command_line_is_told_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sessions", "--json", "--limit", "0"]) == 2
    assert capsys.readouterr().out == ""
