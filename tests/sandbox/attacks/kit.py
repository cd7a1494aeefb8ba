"""Grounds for attacks: folders that a user owns, and a small engine that this user runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec
import pytest

from tests.sandbox.attacks import engine
from tests.sandbox.attacks.engine import Order, Outcome, Ran
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.sandbox.confinement import MECHANISMS, Mechanism

User = Literal["root", "an ordinary user"]
NOBODY = 65534
AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": (), "cwd": "/"}
REPOSITORY = Path(__file__).parents[3]
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
    interpreter, environment = interpreter_of(user)
    ended = subprocess.run(
        [*interpreter, engine.__file__],
        input=msgspec.json.encode(order),
        capture_output=True,
        check=False,
        timeout=90,
        start_new_session=True,  # an attack on its group must not reach the tests
        env=environment,
        **(AS_NOBODY if drops(user) else {}),
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return msgspec.json.decode(ended.stdout, type=Outcome)


def drops(user: User) -> bool:
    return user != "root" and os.geteuid() == 0


def interpreter_of(user: User) -> tuple[list[str], dict[str, str]]:
    """Return an interpreter that the user may run, and an environment in which it finds turnlog.

    Often the interpreter of the tests is in a folder of root's own.
    """
    path = {"PATH": os.environ["PATH"]}
    if not drops(user):
        return [sys.executable], path
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    libraries = f"{REPOSITORY / 'src'}:{sysconfig.get_path('purelib')}"
    for candidate in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin")):
        environment = {**path, "PYTHONPATH": libraries, "PYTHONDONTWRITEBYTECODE": "1"}
        if candidate is not None and can_run(candidate, environment):
            return [candidate], environment
    raise LookupError(f"an ordinary user can run no {version} that finds turnlog")


def can_run(interpreter: str, environment: dict[str, str]) -> bool:
    command = [interpreter, "-c", "import turnlog.runtime.sandbox.confinement"]
    try:
        subprocess.run(command, env=environment, capture_output=True, check=True, **AS_NOBODY)
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
