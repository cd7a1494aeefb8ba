"""What a hostile command tries, under every mechanism that works here, as root and as another.

Each attack is real: a script in a real sandbox, and a look at the files or processes afterwards.
"""

import os
from collections.abc import Generator

import pytest

from tests.sandbox.attacks.kit import (
    CASES,
    WITH_TMPDIR,
    Ground,
    ground,
    python,
)
from turnlog.protocol.settings import SandboxPolicy

NAMES = (".git", ".codex", ".agents", ".turnlog")


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}, {case[1]}")
def place(request: pytest.FixtureRequest) -> Generator[Ground]:
    yield from ground(*request.param)


# Nothing here may harm the machine should a sandbox fail: no path outside of the workspace, no
# signal to everyone, and mounts only in a namespace of their own.
WAYS_IN = """
mkdir -p {path}; echo evil > {path}/planted; touch {path}
mkdir other; echo evil > other/planted; mv -T other {path}; cp -rT other {path}
ln -sfn other {path}
rmdir {path} && mkdir {path} && echo evil > {path}/planted
mv {path} away && mkdir {path} && echo evil > {path}/planted
rm -rf {path}; ln -s below {path}
unshare -Urm sh -c 'umount -l {path}; umount {path}; mkdir -p {path}; echo evil > {path}/planted'
exit 0
"""


@pytest.mark.parametrize("exists", [True, False], ids=["that exist", "that do not exist"])
def test_protected_folders_cannot_be_written_or_made(place: Ground, exists: bool) -> None:
    if exists:
        for name in NAMES:
            (place.folder(f"w/{name}/hooks") / "kept").write_text("old")
    scripts = [WAYS_IN.format(path=name) for name in NAMES]
    scripts += [WAYS_IN.format(path=f"{name}/hooks") for name in NAMES]
    place.attack(*scripts)
    for name in NAMES:
        folder = place.workspace / name
        assert os.path.lexists(folder) == exists
        assert not folder.is_symlink()
        if exists:
            assert place.names(folder) == ["hooks"]
            assert place.names(folder / "hooks") == ["kept"]
            assert (folder / "hooks" / "kept").read_text() == "old"


def test_a_link_with_a_protected_name_can_be_neither_followed_nor_replaced(place: Ground) -> None:
    shared = place.folder("w/hold/shared")
    (place.workspace / ".agents").symlink_to("hold/shared")
    (ran,) = place.attack(
        "echo evil > .agents/planted; mv hold/shared hold/gone; mv hold gone; rm .agents; "
        "mv .agents gone; ln -sfn below .agents; mkdir .agents; touch .agents/planted; "
        "echo new > file; echo new > below/made; cat file below/made"
    )
    assert ran.output.endswith("new\nnew\n")
    assert os.readlink(place.workspace / ".agents") == "hold/shared"
    assert place.names(shared) == []
    assert (place.workspace / "file").read_text() == "new\n"


def test_the_configuration_of_a_trusted_project_below_cannot_be_planted(place: Ground) -> None:
    trusted = place.folder("w/below/trusted")
    script = WAYS_IN.format(path="below/trusted/.turnlog")
    moved = "cd below; mv trusted t; mkdir trusted; mkdir trusted/.turnlog"
    place.attack(script, moved, f"mv below b; mkdir -p {trusted}/.turnlog", trusted=[trusted])
    assert not os.path.lexists(trusted / ".turnlog")
    assert trusted.is_dir()


def test_the_folders_of_other_git_parts_cannot_be_written(place: Ground) -> None:
    place.folder("w/tools/hooks")
    (place.folder("w/.git") / "config").write_text("[core]\n\thooksPath = tools/hooks\n")
    place.attack(
        "echo evil > tools/hooks/pre-commit",
        "mv tools/hooks tools/h; mkdir tools/hooks; echo evil > tools/hooks/pre-commit",
        "mv tools t; mkdir -p tools/hooks; echo evil > tools/hooks/pre-commit",
    )
    assert place.names(place.workspace / "tools") == ["hooks"]
    assert place.names(place.workspace / "tools" / "hooks") == []


@pytest.mark.parametrize("way", ["home", "deep/er/home"])
def test_the_home_below_a_writable_root_is_kept(place: Ground, way: str) -> None:
    home = place.folder(f"w/{way}")
    (home / "config.toml").write_text("secret")
    store = place.folder(f"w/{way}/store")
    (store / "data.mdb").write_text("secret")
    top = way.split("/")[0]
    ran = place.attack(
        f"cat {home}/config.toml {store}/data.mdb; cp -r {home} below/copy; ls {store} | cat",
        f"mv {home} {home}.away; mkdir -p {home}; echo key > {home}/config.toml",
        f"mv {top} away; mkdir -p {home}; echo key > {home}/config.toml",
        f"echo key > {home}/config.toml; rm -rf {home}; rm -rf {top}",
        f"ln {store}/data.mdb below/hard; cat below/hard; ln -s {store} below/l; cat below/l/*",
        f"cat /proc/*/root{store}/data.mdb /proc/*/cwd/{way}/store/data.mdb",
        f"unshare -Urm sh -c 'umount -l {home}; cat {store}/data.mdb'",
        home=home,
    )
    assert not any("secret" in each.output for each in ran)
    assert (home / "config.toml").read_text() == "secret"
    assert (store / "data.mdb").read_text() == "secret"
    assert place.names(home) == ["config.toml", "store"]


def test_a_home_that_is_not_there_yet_cannot_be_made(place: Ground) -> None:
    home = place.workspace / ".later"
    place.attack(WAYS_IN.format(path=".later"), home=home)
    assert not os.path.lexists(home)


def test_a_home_that_a_link_leads_to_is_kept_with_the_link(place: Ground) -> None:
    (place.workspace / "link").symlink_to("../home")
    place.attack(
        "rm link; mkdir link; echo key > link/config.toml; mv link l; ln -sfn below link",
        "echo key > link/config.toml",
        home=place.workspace / "link",
    )
    assert os.readlink(place.workspace / "link") == "../home"
    assert (place.home / "config.toml").read_text() == "secret"


def test_work_in_the_users_own_home_continues_beside_the_hidden_one(place: Ground) -> None:
    """`cd ~; turnlog exec -s workspace-write`: the commonest place for a store."""
    home = place.folder("w/.turnlog")
    (home / "config.toml").write_text("secret")
    (place.workspace / ".bashrc").write_text("old")
    (ran,) = place.attack(
        "echo new > file; echo new > below/made; cat .turnlog/config.toml; echo evil > .bashrc; "
        "mv .bashrc b; cat file below/made",
        home=home,
        HOME=str(place.workspace),
    )
    assert ran.output.endswith("new\nnew\n")
    assert "secret" not in ran.output
    assert (place.workspace / ".bashrc").read_text() == "old"


def test_a_store_below_the_folder_for_temporary_files_is_kept(place: Ground) -> None:
    (ran,) = place.attack(
        "echo new > file; echo t > $TMPDIR/t && cat $TMPDIR/t file; cat $OLD/home/config.toml; "
        "mv $OLD/home $OLD/h; echo key > $OLD/home/config.toml",
        policy=WITH_TMPDIR,
        TMPDIR=str(place.top),
        OLD=str(place.top),
    )
    assert ran.output.startswith("t\nnew\n")
    assert "secret" not in ran.output
    assert (place.home / "config.toml").read_text() == "secret"
    assert place.names(place.top) in (["home", "w"], ["home", "t", "w"])


def test_a_folder_above_the_workspace_can_be_neither_renamed_nor_made_a_project(
    place: Ground,
) -> None:
    workspace = place.folder("a/b/w")
    top = place.top
    place.attack(
        f"cd {top}; mv a z; mkdir -p a/b/w/.turnlog; mv a/b a/z; mkdir -p a/b/w/.turnlog",
        f"mkdir {top}/.git {top}/a/.git {top}/a/b/.turnlog; echo evil > {top}/AGENTS.md",
        f"mv {workspace} {workspace}2; mkdir -p {workspace}/.turnlog",
        policy=WITH_TMPDIR,
        workspace=workspace,
        TMPDIR=str(top),
    )
    assert workspace.is_dir()
    assert not (workspace / ".turnlog").exists()
    assert not any((folder / ".git").exists() for folder in (top, top / "a", top / "a" / "b"))


def test_the_instructions_above_the_workspace_are_kept(place: Ground) -> None:
    workspace = place.folder("a/w")
    place.folder("a/.git")
    (place.top / "a" / "AGENTS.md").write_text("old")
    place.attack(
        "echo evil > ../AGENTS.md; mv ../AGENTS.md ../A; echo evil > ../AGENTS.override.md; "
        "ln -s w/AGENTS.md ../AGENTS.override.md",
        policy=WITH_TMPDIR,
        workspace=workspace,
        TMPDIR=str(place.top),
    )
    assert (place.top / "a" / "AGENTS.md").read_text() == "old"
    assert not os.path.lexists(place.top / "a" / "AGENTS.override.md")


def test_files_on_the_path_cannot_be_replaced_or_made(place: Ground) -> None:
    tool = place.folder("w/env/bin") / "tool"
    tool.write_text("old")
    place.attack(
        "echo evil > env/bin/tool; mv env/bin/tool t; cp file env/bin/tool; touch env/bin/new",
        "mv env/bin env/b; mkdir env/bin; mv env e; mkdir -p env/bin; touch env/bin/new",
        "mkdir -p later/bin; touch later/bin/tool; ln -s below later",
        PATH=f"{tool.parent}:/usr/bin:/bin:{place.workspace}/later/bin",
    )
    assert tool.read_text() == "old"
    assert place.names(tool.parent) == ["tool"]
    assert not os.path.lexists(place.workspace / "later")


def test_the_engine_cannot_be_changed(place: Ground) -> None:
    """The engine compares its own limits, priority and so on before and after."""
    ran = place.attack(
        python(
            [
                "pid = int(os.environ['ENGINE'])",
                "import resource; resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9))",
                "import resource; resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))",
                "os.setpriority(os.PRIO_PROCESS, pid, 19)",
                "os.setpriority(os.PRIO_PGRP, os.getpgid(pid), 19)",
                "os.sched_setaffinity(pid, {0})",
                "os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))",
                "os.kill(pid, signal.SIGSTOP)",
                "os.kill(pid, signal.SIGKILL)",
                "os.killpg(os.getpgid(pid), signal.SIGKILL)",
                "signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)",
                "open(f'/proc/{pid}/mem', 'r+b')",
                "open(f'/proc/{pid}/environ', 'rb').read()",
                "open(f'/proc/{pid}/oom_score_adj', 'w').write('1000')",
                "open(f'/proc/{pid}/comm', 'w').write('changed')",
                "c = ctypes.CDLL(None); assert c.ptrace(16, pid, None, None) == 0",
                "os.readlink(f'/proc/{pid}/exe')",
                "c = ctypes.CDLL(None); assert c.syscall(251, 1, pid, 0x6007) == 0",
            ]
        )
    )
    done = [line for line in ran[0].output.splitlines() if line.startswith("DONE: ")]
    assert [line for line in done if "pid = int" not in line] == []


def test_the_kernel_cannot_be_configured(place: Ground) -> None:
    """Root writes `core_pattern` by being root. The files are opened only: no harm is done."""
    (ran,) = place.attack(
        python(
            [
                "print('TRIED', os.open('/proc/version', os.O_RDONLY) > 0)",
                *(f"os.open({path!r}, os.O_WRONLY | os.O_NONBLOCK)" for path in kernel_files()),
            ]
        )
    )
    assert "TRIED True" in ran.output
    done = [line for line in ran.output.splitlines() if line.startswith("DONE: ")]
    assert [line for line in done if "TRIED" not in line] == []


def kernel_files() -> list[str]:
    """Return some files by which root changes how the whole machine works."""
    return [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/threads-max",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/file-max",
        "/proc/irq/default_smp_affinity",
        "/proc/sysrq-trigger",
        "/proc/mtrr",
        "/proc/pressure/cpu",
    ]


def test_two_commands_at_once_keep_what_does_not_exist(place: Ground) -> None:
    """The stand-ins of the first must not go while the second one runs."""
    waiting = "until test -e below/{name}; do :; done"
    place.attack(
        "touch below/one; " + waiting.format(name="two"),
        waiting.format(name="one")
        + "; touch below/two; for i in 1 2 3 4 5 6 7 8 9; do mkdir .turnlog; "
        "echo evil > .turnlog/config.toml; python3 -c 'import time; time.sleep(0.1)'; done; exit 0",
        at_once=True,
    )
    assert place.names() == ["below", "file"]
    assert place.names(place.workspace / "below") == ["one", "two"]


def test_nothing_is_left_in_the_workspace_after_commands(place: Ground) -> None:
    assert [ran.code for ran in place.attack("true", "true", "true", at_once=True)] == [0, 0, 0]
    assert place.names() == ["below", "file"]
    assert place.names(place.top) == ["home", "w"]


def test_what_a_killed_engine_left_goes_with_the_next_command(place: Ground) -> None:
    for name in NAMES:
        (place.workspace / name).mkdir()
        (place.workspace / name).chmod(0o1555)
    place.give(place.workspace)
    place.attack("mkdir .turnlog/x; touch .git/x; exit 0")
    left = [] if place.mechanism != "landlock" else sorted(NAMES)  # it needs no stand-ins
    expected = [*left, "below", "file"]
    assert place.names() == expected


def test_a_users_own_empty_folder_stays(place: Ground) -> None:
    (place.workspace / ".agents").mkdir()
    place.attack("true")
    assert place.names() == [".agents", "below", "file"]


def test_temporary_files_work_everywhere(place: Ground) -> None:
    policy = SandboxPolicy(mode="workspace-write")  # with /tmp, which holds the workspace
    (ran,) = place.attack(
        "f=$(mktemp) && echo t > $f && cat $f && rm $f; f=$(mktemp -d) && rmdir $f", policy=policy
    )
    assert (ran.code, ran.output) == (0, "t\n")


def test_the_same_attacks_do_harm_when_nothing_confines_them(place: Ground) -> None:
    """They are no straw men."""
    ran = place.attack(
        "mkdir .turnlog; echo evil > .turnlog/config.toml",
        f"cat {place.home}/config.toml; mv {place.home} {place.home}2",
        policy=SandboxPolicy(mode="danger-full-access"),
    )
    assert place.names(place.workspace / ".turnlog") == ["config.toml"]
    assert "secret" in ran[1].output
    assert not place.home.exists()
