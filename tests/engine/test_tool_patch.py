"""apply_patch through the engine: all or nothing, confined, and found in a shell command too."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.kit import house, kinds, outputs, play, shell, the, told
from tests.engine.test_tool_exec import CONFINED
from turnlog.protocol.calls import FileChange, PatchPreview, PatchReport
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import CallSettled, ModelItemReceived, ToolFinished, TurnEnded
from turnlog.runtime.config.schema import WorkspaceWrite
from turnlog.runtime.scripted_model.script import Item, custom

ADD = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n"
MANY = """*** Begin Patch
*** Add File: b/new.txt
+hello
*** Update File: old.txt
@@
-one
+two
*** Delete File: gone.txt
*** End Patch
"""
WORKSPACE: dict[str, Any] = {
    "sandbox_mode": "workspace-write",
    "sandbox_workspace_write": WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True),
}


async def patched(folder: Path, item: Item, **config: Any) -> tuple[list[Recorded], str]:  # noqa: ANN401
    """Let the model make one call; return the turn's events and what it was told."""
    async with house(folder, item, "done", **config) as h:
        session = await h.start()
        events = await play(session)
        assert the(TurnEnded, events).status == "completed"
        (text,) = outputs(h.server)
        return events, text


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"sandbox_mode": "danger-full-access"}, id="plain"),
        pytest.param(WORKSPACE, id="workspace-write", marks=CONFINED),
    ],
)
async def test_a_patch_adds_changes_and_deletes(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("one\n")
    (tmp_path / "gone.txt").write_text("x\n")
    events, text = await patched(tmp_path, custom("apply_patch", MANY), **config)
    assert text.startswith("Exit code: 0\nWall time: ")
    assert text.endswith(
        " seconds\nOutput:\nSuccess. Updated the following files:\n"
        "A b/new.txt\nM old.txt\nD gone.txt\n"
    )
    changes = (
        FileChange(str(tmp_path / "b/new.txt"), "add"),
        FileChange(str(tmp_path / "gone.txt"), "delete"),
        FileChange(str(tmp_path / "old.txt"), "update"),
    )
    report = the(ToolFinished, events).report
    assert isinstance(report, PatchReport)
    assert (report.changes, report.applied) == (changes, True)
    assert files(tmp_path) == {"b/new.txt": "hello\n", "old.txt": "two\n"}


async def test_a_patch_that_does_not_fit_changes_nothing_and_never_starts(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("other\n")
    events, text = await patched(tmp_path, custom("apply_patch", MANY))
    assert text.startswith("apply_patch verification failed: ")
    assert "tool_started" not in kinds(events)
    assert the(ToolFinished, events).outcome == "failed"
    assert files(tmp_path) == {"old.txt": "other\n"}


async def test_what_is_no_patch_is_refused_before_anything(tmp_path: Path) -> None:
    events, text = await patched(tmp_path, custom("apply_patch", "hello"))
    assert text.startswith("apply_patch verification failed: ")
    assert the(CallSettled, events).outcome == "refused"
    assert "tool_dispatched" not in kinds(events)


async def test_read_only_refuses_a_patch_in_codexs_words(tmp_path: Path) -> None:
    _, text = await patched(tmp_path, custom("apply_patch", ADD), sandbox_mode="read-only")
    assert text == (
        "patch rejected: writing is blocked by read-only sandbox; "
        "rejected by user approval settings"
    )
    assert files(tmp_path) == {}


@pytest.mark.parametrize("path", ["../new.txt", "/etc/turnlog-test"])
async def test_a_patch_outside_of_the_workspace_is_refused(path: str, tmp_path: Path) -> None:
    inside = tmp_path / "work"
    inside.mkdir()
    _, text = await patched(
        inside, custom("apply_patch", ADD.replace("new.txt", path)), **WORKSPACE
    )
    assert text == (
        "patch rejected: writing outside of the project; rejected by user approval settings"
    )
    assert files(tmp_path) == {}


@CONFINED
async def test_a_link_out_of_the_workspace_is_stopped_by_the_kernel(tmp_path: Path) -> None:
    inside, outside = tmp_path / "work", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    patch = custom("apply_patch", ADD.replace("new.txt", "link/new.txt"))
    _, text = await patched(inside, patch, **WORKSPACE)
    assert "Success" not in text
    assert files(outside) == {}


async def test_a_patch_in_a_here_document_is_shown_as_a_file_change(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    script = f"cd inner && apply_patch <<'EOF'\n{ADD}EOF\n"
    events, text = await patched(tmp_path, shell(script))
    plan = next(event.plan for r in events if isinstance(event := r.event, ModelItemReceived))
    assert plan is not None
    changes = (FileChange(str(tmp_path / "inner/new.txt"), "add"),)
    assert (plan.tool, plan.preview) == ("apply_patch", PatchPreview(changes))
    report = the(ToolFinished, events).report
    assert isinstance(report, PatchReport)
    assert (report.changes, report.applied) == (changes, True)
    assert text.endswith("A new.txt\n")
    assert told(the(ToolFinished, events)) == text
    assert files(tmp_path) == {"inner/new.txt": "hello\n"}


async def test_a_patch_in_a_here_document_is_bound_by_the_sandbox_too(tmp_path: Path) -> None:
    script = f"apply_patch <<'EOF'\n{ADD}EOF\n"
    _, text = await patched(tmp_path, shell(script), sandbox_mode="read-only")
    assert text.startswith("patch rejected: writing is blocked by read-only sandbox")
    assert files(tmp_path) == {}


async def test_without_a_sandbox_that_works_a_patch_is_not_written(tmp_path: Path) -> None:
    _, text = await patched(tmp_path, custom("apply_patch", ADD), sandbox="none", **WORKSPACE)
    assert text.startswith("Exit code: 1\n")
    assert "commands cannot be confined on this machine" in text
    assert files(tmp_path) == {}
