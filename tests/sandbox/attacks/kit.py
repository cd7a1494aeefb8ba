"""Grounds for attacks: folders that a user owns, and a small engine that this user runs."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal

import attrs
import msgspec
import pytest
import trio

from tests.sandbox.attacks import engine
from tests.sandbox.attacks.engine import Order, Outcome, Ran
from tests.warm.client import of_a_start, run
from tests.warm.request import Program
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.processes.launch import PROGRAM
from turnlog.runtime.sandbox.confinement import MECHANISMS, Mechanism

User = Literal["root", "an ordinary user"]
NOBODY = 65534
ENGINE = Path(engine.__file__).read_text()
# Only what the tests name is writable: their folders are below /tmp.
NARROW = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True, exclude_tmpdir_env_var=True)
WITH_TMPDIR = SandboxPolicy(mode="workspace-write", exclude_slash_tmp=True)


@attrs.frozen
class Ground:
    """A workspace `w` in a folder `top`, beside a home `home` with a secret in it."""

    mechanism: Mechanism
    user: User
    top: Path

    @property
    def workspace(self) -> Path:
        return self.top / "w"

    @property
    def home(self) -> Path:
        return self.top / "home"

    def give(self, *paths: Path) -> None:
        """Make these the user's own, with all that is in them."""
        if os.geteuid() == 0 and self.user != "root":
            for path in paths:
                for each in (path, *path.rglob("*")):
                    os.chown(each, NOBODY, NOBODY, follow_symlinks=False)

    def folder(self, name: str) -> Path:
        path = self.top / name
        path.mkdir(parents=True)
        return path

    def attack(
        self,
        *scripts: str,
        policy: SandboxPolicy = NARROW,
        workspace: Path | None = None,
        home: Path | None = None,
        trusted: Sequence[Path] = (),
        at_once: bool = False,
        **env: str,
    ) -> tuple[Ran, ...]:
        """Run scripts confined; return what came of each. The engine must not have changed."""
        self.give(self.top)
        basic = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
        order = Order(
            self.mechanism,
            str(home or self.home),
            str(workspace or self.workspace),
            policy,
            scripts,
            basic | env,
            tuple(map(str, trusted)),
            at_once,
        )
        outcome = run_engine(order, self.user)
        assert outcome.state_after == outcome.state_before
        return outcome.ran

    def names(self, folder: Path | None = None) -> list[str]:
        return sorted(os.listdir(folder or self.workspace))


def run_engine(order: Order, user: User) -> Outcome:
    program = Program(
        "/",
        {"PATH": os.environ["PATH"], **of_a_start()},
        text=ENGINE,
        leads_session=True,  # an attack on its group must not reach the tests
        user=NOBODY if drops(user) else None,
        interpreter=interpreter_of(user),
    )
    ended = trio.run(partial(run, program, stdin=msgspec.json.encode(order)))
    assert ended.code == 0, ended.err.decode()
    return msgspec.json.decode(ended.out, type=Outcome)


def drops(user: User) -> bool:
    return user != "root" and os.geteuid() == 0


def interpreter_of(user: User) -> str:
    """Return an interpreter that the user may run. That of the tests may be in root's home.

    Raises:
        LookupError: there is none.
    """
    if not drops(user):
        return sys.executable
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        if candidate is not None and can_run(candidate):
            return candidate
    raise LookupError(f"an ordinary user can run no {version} that finds turnlog's launcher")


@cache
def can_run(interpreter: str) -> bool:
    command = [interpreter, "-I", "-S", PROGRAM, "--", "true"]
    try:
        subprocess.run(
            command,
            capture_output=True,
            check=True,
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=(),
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def why_not(mechanism: Mechanism, user: User) -> str:
    """Return why attacks cannot be tried so; nothing if they can."""
    if user == "root" and os.geteuid() != 0:
        return "only root can be root"
    try:
        order = Order(mechanism, "/nonexistent", "/", SandboxPolicy(), (), {"PATH": "/bin"})
        run_engine(order, user)
    except LookupError as error:
        return str(error)
    except AssertionError as error:
        return str(error).strip().splitlines()[-1]
    return ""


CASES: list[tuple[Mechanism, User]] = [
    (mechanism, user) for mechanism in MECHANISMS for user in ("root", "an ordinary user")
]
_REASONS: dict[tuple[Mechanism, User], str] = {}


def ground(mechanism: Mechanism, user: User) -> Generator[Ground]:
    case = (mechanism, user)
    if case not in _REASONS:
        _REASONS[case] = why_not(*case)
    if _REASONS[case]:
        pytest.skip(f"{mechanism} as {user}: {_REASONS[case]}")
    with tempfile.TemporaryDirectory(prefix="turnlog-attack-", dir="/tmp") as folder:
        top = Path(folder).resolve()
        top.chmod(0o755)
        made = Ground(mechanism, user, top)
        (made.folder("w") / "file").write_text("old")
        (made.workspace / "below").mkdir()
        (made.folder("home") / "config.toml").write_text("secret")
        yield made


def python(lines: Iterable[str]) -> str:
    """Return a script that runs these lines of Python, each one whatever became of the last."""
    tried = "\n".join(
        f"try:\n    {line}\n    print('DONE:', {line!r})\nexcept Exception as error:\n    pass"
        for line in lines
    )
    return f"exec \"$PYTHON\" -I -S - <<'END'\nimport os, signal, ctypes\n{tried}\nEND"
