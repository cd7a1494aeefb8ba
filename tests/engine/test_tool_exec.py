"""exec_command through the engine: what the model is told, what is refused, what is confined."""

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.engine.kit import house, kinds, of, outputs, play, shell, the, told
from turnlog.protocol.calls import CommandReport, Leftover
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.events import CallSettled, ToolFinished, ToolStarted, TurnEnded
from turnlog.protocol.settings import SettingsUpdate, ShellEnvironmentPolicy
from turnlog.runtime.config.schema import WorkspaceWrite
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox
from turnlog.runtime.scripted_model.script import Item, call, custom


async def _why_not() -> str:
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner)
        try:
            await sandbox.probe()
        except Unavailable as error:
            return str(error)
    return ""


NO_SANDBOX = trio.run(_why_not)
_WITHOUT_TMP: dict[str, Any] = {
    # The tests' folders are below /tmp.
    "sandbox_workspace_write": WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True)
}
CONFINED = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


async def run(folder: Path, *calls: Item, **config: Any) -> tuple[list[Recorded], list[str]]:  # noqa: ANN401
    """Let the model make `calls` at once; return the turn's events and what it was told."""
    async with house(folder, list(calls), "done", **config) as h:
        events = await play(await h.start())
        assert the(TurnEnded, events).status == "completed"  # a failing tool fails no turn
        return events, outputs(h.server)


# --- what the model is told -----------------------------------------------------------------------


async def test_a_command_answers_in_codexs_words(tmp_path: Path) -> None:
    events, (text,) = await run(tmp_path, shell("echo hi; exit 3"))
    pattern = (
        r"Chunk ID: [0-9a-f]{6}\nWall time: \d+\.\d{4} seconds\nProcess exited with code 3\n"
        r"Original token count: 1\nOutput:\nhi\n"
    )
    assert re.fullmatch(pattern, text)
    finished = the(ToolFinished, events)
    assert (finished.outcome, finished.output, finished.full_output) == ("failed", "hi\n", None)
    assert isinstance(finished.report, CommandReport)
    assert (finished.report.exit_code, finished.report.timed_out) == (3, False)
    assert told(finished) == text


async def test_a_silent_command_answers_with_an_empty_output(tmp_path: Path) -> None:
    events, (text,) = await run(tmp_path, shell("true"))
    assert text.endswith("Process exited with code 0\nOriginal token count: 0\nOutput:\n")
    assert the(ToolFinished, events).outcome == "done"


async def test_a_killed_shell_answers_137(tmp_path: Path) -> None:
    _, (text,) = await run(tmp_path, shell("kill -9 $$"))
    assert "Process exited with code 137\n" in text


async def test_both_outputs_come_as_one_and_odd_bytes_become_marks(tmp_path: Path) -> None:
    events, _ = await run(tmp_path, shell(r"printf 'out\n'; printf 'err\377\n' >&2"))
    assert the(ToolFinished, events).output == "out\nerr\ufffd\n"


async def test_long_output_is_cut_for_the_model_and_kept_in_the_event(tmp_path: Path) -> None:
    lines = "".join(f"line {number}\n" for number in range(1, 5001))
    events, (text,) = await run(tmp_path, shell("seq -f 'line %g' 5000", max_output_tokens=100))
    tokens = -(-len(lines) // 4)
    head, tail = lines[:200], lines[-200:]
    shown = (
        f"Warning: truncated output (original token count: {tokens})\n"
        f"Total output lines: 5000\n\n{head}…{tokens - 100} tokens truncated…{tail}"
    )
    assert text.endswith(f"Original token count: {tokens}\nOutput:\n{shown}")
    finished = the(ToolFinished, events)
    assert (finished.output, finished.full_output) == (shown, lines)


async def test_the_budget_is_never_more_than_10_000_tokens(tmp_path: Path) -> None:
    events, _ = await run(
        tmp_path, shell("head -c 60000 /dev/zero | tr '\\0' x", max_output_tokens=1_000_000)
    )
    shown = the(ToolFinished, events).output
    assert shown.count("x") == 40_000
    assert "…5000 tokens truncated…" in shown


async def test_past_one_mebibyte_the_middle_is_dropped_and_counted(tmp_path: Path) -> None:
    size = 3 * 1024 * 1024
    events, (text,) = await run(tmp_path, shell(f"head -c {size} /dev/zero | tr '\\0' x"))
    finished = the(ToolFinished, events)
    omitted = size - 1024 * 1024
    assert finished.full_output is not None
    assert f"\n... {omitted} bytes omitted ...\n" in finished.full_output
    assert len(finished.full_output) < 1024 * 1024 + 100
    assert f"... {omitted} bytes omitted ...\n\n" in text


async def test_a_command_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    events, (text,) = await run(tmp_path, shell("echo begun; sleep 1000", timeout_ms=1500))
    first, rest = text.split("\n", 1)
    assert re.fullmatch(r"command timed out after \d+ milliseconds", first)
    assert rest.startswith("Chunk ID: ")
    assert rest.endswith("Output:\nbegun\n")
    report = the(ToolFinished, events).report
    assert isinstance(report, CommandReport)
    assert report.timed_out


async def test_what_a_command_leaves_in_the_background_is_named_to_the_model_and_in_the_event(
    tmp_path: Path,
) -> None:
    events, (text,) = await run(tmp_path, shell("sleep 600 & echo $!"))
    pid = text.split("Output:\n")[1].split("\n")[0]
    assert text.endswith(f"Output:\n{pid}\n[ended with the call: sleep 600 (pid {pid})]\n")
    report = the(ToolFinished, events).report
    assert isinstance(report, CommandReport)
    assert report.left == Leftover(1, (f"sleep 600 (pid {pid})",))


async def test_a_command_that_kills_its_attendant_is_told_to_have_something_left(
    tmp_path: Path,
) -> None:
    events, (text,) = await run(tmp_path, shell("kill -9 $PPID; sleep 600"))
    note = "[the process that watches over this command was killed: something of it may still run]"
    assert text.endswith(
        f"Process exited with code 137\nOriginal token count: 0\nOutput:\n{note}\n"
    )
    report = the(ToolFinished, events).report
    assert isinstance(report, CommandReport)
    assert report.left == Leftover(lost=True)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (call("exec_command", {}), "failed to parse function arguments: .*missing.*`cmd`.*"),
        (call("exec_command", "not json"), "failed to parse function arguments: .*"),
        (call("exec_command", {"cmd": 7}), "failed to parse function arguments: .*`str`.*`int`.*"),
        (call("exec_command", {"cmd": " \n"}), "failed to parse function arguments: cmd is empty"),
        (call("nothing_of_the_kind", {}), "unsupported call: nothing_of_the_kind"),
        (call("echo", {}, namespace="mcp__x"), r"unsupported call: mcp__x\.echo"),
        (custom("exec_command", "ls"), "exec_command is a function and takes JSON arguments.*"),
        (call("apply_patch", {"input": "x"}), "apply_patch takes the patch as free text.*"),
        (call("update_plan", {"plan": 3}), "failed to parse function arguments: .*"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
async def test_a_call_that_makes_no_sense_is_answered_and_nothing_runs(
    refused: Item, text: str, tmp_path: Path
) -> None:
    events, answers = await run(tmp_path, refused)
    assert len(answers) == 1
    assert re.fullmatch(text, answers[0], re.DOTALL)
    assert the(CallSettled, events).outcome == "refused"
    assert "tool_dispatched" not in kinds(events)


async def test_a_folder_that_is_not_there_is_told_to_the_model(tmp_path: Path) -> None:
    events, (text,) = await run(tmp_path, shell("pwd", workdir="nowhere"))
    assert "this is not an existing folder" in text
    assert the(ToolFinished, events).outcome == "failed"


async def test_a_plan_is_updated_and_shown(tmp_path: Path) -> None:
    steps = [{"step": "look", "status": "completed"}, {"step": "write", "status": "pending"}]
    events, answers = await run(tmp_path, call("update_plan", {"plan": steps}))
    assert answers == ["Plan updated"]
    assert len(of(ToolStarted, events)) == 1


# --- where and with what it runs ------------------------------------------------------------------


async def test_it_runs_in_the_turns_folder_or_below_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    events, _ = await run(tmp_path, shell("pwd"), shell("pwd", workdir="inner"))
    shown = sorted(event.output for event in of(ToolFinished, events))
    assert shown == [f"{tmp_path}\n", f"{tmp_path / 'inner'}\n"]


async def test_another_shell_may_be_asked_for(tmp_path: Path) -> None:
    events, _ = await run(tmp_path, shell("echo $0", shell="/bin/sh"))
    assert the(ToolFinished, events).output == "/bin/sh\n"


async def test_secrets_of_the_engine_are_not_inherited(tmp_path: Path) -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-mine",
        "MY_TOKEN": "secret-token",
        "DB_SECRET": "hidden",
        "PLAIN": "p-4",
    }
    for inherit, plain in (("all", True), ("core", False)):
        policy = ShellEnvironmentPolicy(inherit=inherit)  # type: ignore[arg-type]
        events, _ = await run(
            tmp_path, shell("env"), environ=secrets, shell_environment_policy=policy
        )
        shown = the(ToolFinished, events).output
        assert "PATH=" in shown
        assert not any(value in shown for value in ("sk-mine", "secret-token", "hidden"))
        assert ("PLAIN=p-4" in shown) == plain


async def test_settings_that_change_with_a_turn_hold_for_its_commands(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    async with house(tmp_path, shell("pwd"), "done") as h:
        session = await h.start()
        update = SettingsUpdate(cwd=str(tmp_path / "inner"))
        events = [event async for event in session.run("go", update=update)]
        assert the(ToolFinished, events).output == f"{tmp_path / 'inner'}\n"


# --- confinement ----------------------------------------------------------------------------------


@CONFINED
async def test_read_only_reads_everything_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("here")
    events, _ = await run(
        tmp_path,
        shell("cat note.txt; echo more >> note.txt; touch /tmp/other-$$ new; ls"),
        sandbox_mode="read-only",
    )
    finished = the(ToolFinished, events)
    assert finished.output.startswith("here")
    assert "Read-only file system" in finished.output or "ermission denied" in finished.output
    assert (tmp_path / "note.txt").read_text() == "here"
    assert not (tmp_path / "new").exists()


@CONFINED
async def test_workspace_write_writes_there_and_nowhere_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "work", tmp_path / "outside"
    (inside / "notes").mkdir(parents=True)  # what landlock alone lets commands add to
    outside.mkdir()
    script = f"echo in > notes/note.txt; echo out > {outside}/note.txt"
    async with house(
        tmp_path, shell(script), "done", sandbox_mode="workspace-write", **_WITHOUT_TMP
    ) as h:
        session = await h.engine.start(cwd=inside)
        await play(session)
    assert (inside / "notes" / "note.txt").read_text() == "in\n"
    assert not (outside / "note.txt").exists()


async def test_without_a_sandbox_that_works_nothing_runs_and_the_model_is_told(
    tmp_path: Path,
) -> None:
    events, (text,) = await run(
        tmp_path, shell("touch ran"), sandbox="none", sandbox_mode="read-only"
    )
    assert text.startswith("commands cannot be confined on this machine; nothing was run.")
    assert text.endswith("[sandbox_unavailable]")
    assert of(ToolStarted, events) == []
    assert not (tmp_path / "ran").exists()
