"""What a person sees of a command while it runs."""

from tests.cli.harness import User
from turnlog.frontends.cli.running.live_output import MOST_LINES, LiveOutput
from turnlog.runtime.scripted_model.script import Item, call


def shell(command: str) -> Item:
    return call("exec_command", {"cmd": command, "login": False})


def test_lines_are_shown_once_they_are_whole() -> None:
    live = LiveOutput()
    assert live.take("a", "one\ntw") == "one"
    assert live.take("b", "other\n") == "other"
    assert live.take("a", "o\nthree") == "two"
    assert live.finish("a", "one\ntwo\nthree") == "three"
    assert live.finish("b", "other\n") == ""


def test_a_progress_bar_is_shown_as_it_looks_in_the_end() -> None:
    assert LiveOutput().take("a", "10 %\r50 %\r100 %\r\ndone\r\n") == "100 %\ndone"


def test_after_many_lines_the_rest_is_counted() -> None:
    live = LiveOutput()
    text = "".join(f"{number}\n" for number in range(MOST_LINES + 5))
    assert len(live.take("a", text).split("\n")) == MOST_LINES
    assert live.take("a", "more\n") == ""
    assert live.finish("a", f"{text}more\n") == "… 6 more lines"


def test_a_command_that_was_not_seen_while_it_ran_is_shown_in_short() -> None:
    assert LiveOutput().finish("a", "\n".join("abcdefghijklmn")) == (
        "\n".join("abcdefghijkl") + "\n… 2 more lines"
    )
    assert LiveOutput().finish("a", " \n") == ""


async def test_a_run_shows_a_line_before_its_command_ends(user: User) -> None:
    gate = user.pipe("gate")
    async with user.model([shell(f"echo first; cat {gate.path}; echo last")], "Done."):
        started = user.start("exec", "go")
        while await started.read_note() != "first\n":
            pass
        gate.path.write_text("opened\n")
        outcome = await started.finished()
    assert outcome.err.startswith("opened\nlast\nexit code 0\n")
    assert outcome.out == "Done.\n"


async def test_commands_at_the_same_time_are_told_apart(user: User) -> None:
    first, second = user.pipe("first"), user.pipe("second")
    commands = [
        shell(f"echo a; cat {first.path}; echo a2"),
        shell(f"echo b; cat {second.path}"),
    ]
    async with user.model(commands, "Done."):
        started = user.start("exec", "go")
        seen: list[str] = []
        while not {"a\n", "b\n"} <= set(seen):
            seen.append(await started.read_note())
        first.path.write_text("")
        while seen[-1] != "exit code 0\n":
            seen.append(await started.read_note())
        second.path.write_text("")
        outcome = await started.finished()
    assert seen[-2] == "a2\n"
    assert f"echo b; cat {second.path}" in outcome.err.splitlines()[0]
    assert outcome.err.splitlines()[1] == "exit code 0"
