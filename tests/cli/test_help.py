"""The help: commands by task, the help of one command, its examples and the defaults of options."""

import shlex

import click
import pytest

from turnlog.frontends.cli import COMMANDS, GROUPS, run, turnlog
from turnlog.frontends.cli.examples import EXAMPLES


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(words) == 0
    return capsys.readouterr().out


def found(name: str) -> click.Command:
    command = turnlog.get_command(click.Context(turnlog), name)
    assert command is not None
    return command


def options(name: str) -> list[click.Option]:
    """Return the options of a command that its help shows."""
    all_ones = (one for one in found(name).params if isinstance(one, click.Option))
    return [option for option in all_ones if not option.hidden]


def examples(name: str) -> list[list[str]]:
    """Return the words of each example of a command, after `turnlog NAME`."""
    words = [shlex.split(line, comments=True) for line in EXAMPLES[name].strip().splitlines()]
    return [line[line.index(name) + 1 :] for line in words if "turnlog" in line]


def test_the_help_lists_each_command_once_below_its_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = printed(capsys, "help")
    assert told == printed(capsys, "--help")
    listed = [line.split()[0] for line in told.splitlines() if line.startswith("  ")]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)
    assert all(f"{task}:\n" in told for task in GROUPS)


def test_the_help_of_a_command_is_the_same_in_either_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = printed(capsys, "help", "sessions")
    assert told == printed(capsys, "sessions", "--help")
    assert told.startswith("Usage: turnlog sessions [OPTIONS]\n")


def test_help_for_a_command_that_is_not_there_names_the_ones_that_are_near(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["help", "sesions"]) == 2
    wrong = capsys.readouterr()
    assert wrong.out == ""
    assert "Did you mean" in wrong.err
    assert "sessions" in wrong.err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_says_its_default_once(name: str) -> None:
    told = [(option.opts, option.help or "") for option in options(name)]
    assert [(opts, text) for opts, text in told if text.count("Default") != 1] == []
    assert [(opts, text) for opts, text in told if "UNSET" in text or not text[0].isupper()] == []
    assert not any(option.show_default for option in options(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_in_an_example(name: str) -> None:
    words = {word for line in examples(name) for word in line}
    shown = [
        option for option in options(name) if not words & {*option.opts, *option.secondary_opts}
    ]
    assert [option.opts for option in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_is_a_right_command_line(name: str) -> None:
    if name == "completion":  # its example calls it in another command
        return
    for words in examples(name):
        plain = words[: words.index("|")] if "|" in words else words
        plain = plain[: plain.index(">")] if ">" in plain else plain
        found(name).make_context(name, plain, parent=click.Context(turnlog))  # or it raises


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_examples_as_they_are_typed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = printed(capsys, name, "--help")
    assert told == printed(capsys, "help", name)
    for line in EXAMPLES[name].strip().splitlines():
        assert f"\n  {line}" in told.replace("\n    ", "\n  ")
