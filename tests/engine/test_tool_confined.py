"""The engine's tools under each sandbox that works here: what they can do, and what is told."""

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.engine.kit import house, of, outputs, play, shell, the
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.events import ToolFinished
from turnlog.runtime.config.schema import WorkspaceWrite
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import MECHANISMS, Mechanism, Sandbox
from turnlog.runtime.scripted_model.script import Item, custom

CONFINED: dict[str, Any] = {
    "sandbox_mode": "workspace-write",
    # The tests' folders are below /tmp.
    "sandbox_workspace_write": WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True),
}


async def works(mechanism: Mechanism) -> bool:
    async with Spawner() as spawner:
        try:
            await Sandbox(spawner, prefer=mechanism).probe()
        except Unavailable:
            return False
    return True


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    chosen: Mechanism = request.param
    if not trio.run(works, chosen):
        pytest.skip(f"{chosen} does not work here")
    return chosen


async def run(folder: Path, mechanism: Mechanism, *calls: Item) -> tuple[list[Recorded], list[str]]:
    async with house(folder, *calls, "done", sandbox=mechanism, **CONFINED) as h:
        events = await play(await h.start())
        return events, outputs(h.server)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def patch(body: str) -> Item:
    return custom("apply_patch", f"*** Begin Patch\n{body}\n*** End Patch\n")


async def test_a_patch_makes_moves_and_removes_files_everywhere_in_the_workspace(
    mechanism: Mechanism, tmp_path: Path
) -> None:
    (tmp_path / "old").write_text("1\n")
    (tmp_path / "gone").write_text("1\n")
    _, (text,) = await run(
        tmp_path,
        mechanism,
        patch(
            "*** Add File: top\n+x\n*** Add File: new/deep/file\n+y\n"
            "*** Update File: old\n*** Move to: moved\n-1\n+2\n*** Delete File: gone"
        ),
    )
    assert text.startswith("Exit code: 0\n")
    assert files(tmp_path) == {"top": "x\n", "new/deep/file": "y\n", "moved": "2\n"}


@pytest.mark.parametrize(
    "name", [".git/hooks/pre-commit", ".turnlog/config.toml", ".agents", "home/config.toml"]
)
async def test_a_patch_touches_nothing_that_is_protected(
    mechanism: Mechanism, tmp_path: Path, name: str
) -> None:
    _, (text,) = await run(tmp_path, mechanism, patch(f"*** Add File: {name}\n+evil"))
    assert text == (
        "patch rejected: writing outside of the project; rejected by user approval settings"
    )
    assert files(tmp_path) == {}


async def test_a_patch_follows_no_link_to_what_is_protected(
    mechanism: Mechanism, tmp_path: Path
) -> None:
    hooks = tmp_path / ".git" / "hooks"
    hooks.mkdir(parents=True)
    (tmp_path / "harmless").symlink_to(".git/hooks")
    _, (text,) = await run(tmp_path, mechanism, patch("*** Add File: harmless/pre-commit\n+evil"))
    assert text.startswith("patch rejected: writing outside of the project")
    assert list(hooks.iterdir()) == []


async def test_what_a_command_may_not_make_is_told_with_the_way_that_works(
    mechanism: Mechanism, tmp_path: Path
) -> None:
    events, (text,) = await run(tmp_path, mechanism, shell("echo x > made"))
    if mechanism != "landlock":
        assert (tmp_path / "made").read_text() == "x\n"
        return
    assert the(ToolFinished, events).denial == "permission denied"
    assert text.endswith(
        f"[The sandbox lets commands change files directly in {tmp_path}, but not add, rename, "
        "remove or replace any there. Use apply_patch, or a folder below.]\n"
    )


async def test_a_planted_link_gives_no_other_session_to_the_model(
    mechanism: Mechanism, tmp_path: Path
) -> None:
    (tmp_path / "home" / "store").mkdir(parents=True)
    (tmp_path / "home" / "store" / "data").write_text("secret of another session")
    (tmp_path / "AGENTS.md").symlink_to("home/store/data")
    async with house(
        tmp_path, shell("cat AGENTS.md home/store/data; ls"), "done", sandbox=mechanism, **CONFINED
    ) as h:
        events = await play(await h.start())
        assert "secret" not in str([request.body for request in h.server.requests])
    assert len(of(ToolFinished, events)) == 1
