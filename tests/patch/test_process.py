"""The engine as the child process that it is in a sandbox."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CHILD = (sys.executable, "-I", "-X", "utf8", "-m", "turnlog.runtime.patch")


def run(
    cwd: Path, body: str | bytes, *, around: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    text = body.encode() if isinstance(body, str) else body
    patch = b"*** Begin Patch\n" + text + b"\n*** End Patch\n"
    command = [*around, *CHILD, "--cwd", str(cwd)]
    return subprocess.run(command, input=patch, capture_output=True, check=False, timeout=60)


def outcome(result: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_the_child_applies_a_patch_and_prints_the_summary(tmp_path: Path) -> None:
    summary = "Success. Updated the following files:\nA wörld ✓.txt\n"
    assert outcome(run(tmp_path, "*** Add File: wörld ✓.txt\n+x")) == (0, summary, "")
    assert (tmp_path / "wörld ✓.txt").read_text() == "x\n"


def test_the_child_prints_an_error_and_fails(tmp_path: Path) -> None:
    assert outcome(run(tmp_path, "")) == (1, "", "No files were modified.\n")
    missing = "patch line 2: a does not exist. No file was changed.\n"
    assert outcome(run(tmp_path, "*** Delete File: a")) == (1, "", missing)
    assert outcome(run(tmp_path, b"\xff")) == (1, "", "the patch is not UTF-8 at byte 16.\n")


@pytest.mark.parametrize("arguments", [[], ["--cwd"], ["--cwd", "relative"], ["x", "/"]])
def test_a_wrong_command_line_is_explained(arguments: list[str]) -> None:
    result = subprocess.run([*CHILD, *arguments], capture_output=True, check=False, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith(b"usage: ")


def test_the_child_imports_little() -> None:
    """Each of these costs several milliseconds, at every patch."""
    path = f"import sys; sys.path[:] = {sys.path!r}"  # without site, which may import more
    result = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c"),
            f"{path}; import turnlog.runtime.patch.__main__; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    heavy = {
        "argparse",
        "attrs",
        "dataclasses",
        "inspect",
        "msgspec",
        "pathlib",
        "tempfile",
        "trio",
    }
    assert heavy.isdisjoint(result.stdout.split())


def test_a_full_disk_leaves_every_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    big = "*** Update File: a\n-1\n+2\n*** Add File: d/e/big\n" + "+x\n" * 2000
    limited = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash"]  # files of at most 1024 bytes
    result = run(tmp_path, big.rstrip("\n"), around=limited)
    message = f"cannot write {tmp_path}/d/e/big: File too large. No file was changed.\n"
    assert outcome(result) == (1, "", message)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "1\n"


def bubblewrap(*options: str) -> list[str]:
    bwrap = shutil.which("bwrap")
    around = [str(bwrap), "--ro-bind", "/", "/", "--dev", "/dev", *options]
    if bwrap is None or subprocess.run([*around, "true"], check=False).returncode:
        pytest.skip("bubblewrap does not work here")
    return around


def test_the_kernel_refuses_a_write_through_a_link_out_of_the_workspace(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "workspace", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "a").write_text("1\n")
    (workspace / "link").symlink_to(outside / "a")
    (workspace / "folder").symlink_to(outside)
    around = bubblewrap("--bind", str(workspace), str(workspace))
    for body, place in [
        ("*** Update File: link\n-1\n+2", "a"),
        ("*** Update File: folder/a\n-1\n+2", "a"),
        ("*** Add File: inside\n+1\n*** Add File: folder/b\n+2", "b"),
    ]:
        message = f"cannot write {outside}/{place}: Read-only file system. No file was changed.\n"
        assert outcome(run(workspace, body, around=around)) == (1, "", message)
    assert sorted(path.name for path in workspace.iterdir()) == ["folder", "link"]
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("a", "1\n")]


def test_what_was_written_before_a_late_failure_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "z").write_text("1\n")
    # A mount point cannot be removed, which shows only when it is tried.
    around = bubblewrap(
        "--bind", str(tmp_path), str(tmp_path), "--bind", *[str(tmp_path / "z")] * 2
    )
    result = run(tmp_path, "*** Update File: a\n-1\n+2\n*** Delete File: z", around=around)
    message = (
        f"cannot write {tmp_path}/z: Device or resource busy. Already written: {tmp_path}/a.\n"
    )
    assert outcome(result) == (1, "", message)
    assert (tmp_path / "a").read_text() == "2\n"
