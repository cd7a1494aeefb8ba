"""What is tried: sandboxes that a machine has or lacks, and the surroundings of a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.surroundings import without

ROOT: Final = Path(__file__).parents[2]
_INSTALLED: Final = Path(attrs.__file__).parents[1]  # what the tests need
NOBODY: Final = 65534
STRANGER: Final = 54321  # has no entry in the password file


@attrs.frozen
class Machine:
    """A machine that lacks some sandboxes, as a column of the table."""

    name: str
    used: str | None  # the mechanism that turnlog has to choose there; None: none works
    lacks: tuple[str, ...] = ()  # what a filter takes away
    has_bubblewrap: bool = False  # whether bwrap is there

    def under(self, python: str) -> list[str]:
        """Return what comes before a program's words."""
        return [python, str(without.__file__), *self.lacks, "--"] if self.lacks else []


_BOTH: Final = (without.LANDLOCK, without.NAMESPACES)
MACHINES: Final = (
    Machine("bubblewrap", "bubblewrap", has_bubblewrap=True),
    Machine("bubblewrap, namespaces forbidden", "landlock", (without.NAMESPACES,), True),
    Machine("namespaces", "namespaces"),
    Machine("landlock", "landlock", (without.NAMESPACES,)),
    Machine("none", None, _BOTH),
)


@attrs.frozen
class Place:
    """The surroundings of a process, as a row of the table.

    Args:
        environ: variables that are set; None takes one away.
        user: whose process it is.
        folder: the name of the folder that the project is copied to.
        ignored: signals that are ignored when it starts.
        prefix: what it is started by.
    """

    name: str
    environ: Mapping[str, str | None] = attrs.field(factory=dict[str, "str | None"])
    user: int | None = None
    folder: str = "turnlog"
    ignored: tuple[signal.Signals, ...] = ()
    prefix: tuple[str, ...] = ()

    def missing(self) -> str:
        """Return why it cannot be tried here; nothing if it can."""
        if self.user is not None and (why := _not_for(self.user)):
            return why
        if self.prefix:
            tried = subprocess.run([*self.prefix, "true"], capture_output=True, check=False)
            if tried.returncode != 0:
                return tried.stderr.decode(errors="replace").strip()
        return ""

    def environment(self, scratch: Path) -> dict[str, str]:
        """Return the whole environment; `{scratch}` in a value is a folder of our own."""
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(scratch),
            "LANG": "C.UTF-8",
            "TURNLOG_HOME": str(scratch / "home"),  # where no other home is known
        }
        for name, value in self.environ.items():
            if value is None:
                found.pop(name, None)
            else:
                found[name] = value.format(scratch=scratch)
        return found

    def spoil(self) -> None:
        """Put the signals of a process as they are in this place, just before it starts."""
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)


def _not_for(user: int) -> str:
    """Return why nothing can be run as this user; nothing if it can."""
    if os.geteuid() != 0:
        return "only root can become another user"
    own = str(Path(sys.executable).resolve())
    look = f"import os; os.listdir({str(_INSTALLED)!r})"
    try:
        subprocess.run(
            [own, "-c", look], user=user, extra_groups=[], check=True, capture_output=True, cwd="/"
        )
    except (OSError, subprocess.CalledProcessError):
        return f"user {user} cannot read {own}, or what is installed in {_INSTALLED}"
    return ""


_LO_UP: Final = 'ip link set lo up && exec "$@"'
PLACES: Final = (
    Place("as it is"),
    Place("an ordinary user", user=NOBODY),
    Place("a uid without a passwd entry", user=STRANGER),
    Place("a uid without a passwd entry, no HOME", {"HOME": None}, user=STRANGER),
    Place("HOME unset", {"HOME": None}),
    Place("HOME relative", {"HOME": "relative"}),
    Place("HOME cannot be written", {"HOME": "/proc"}),
    Place("TMPDIR elsewhere", {"TMPDIR": "{scratch}/temporary"}),
    Place("TMPDIR in the project", {"TMPDIR": "{scratch}/turnlog/temporary"}),
    Place("spaces and other letters in the path", folder="über 木 folder"),
    Place("an empty environment", {"HOME": None, "PATH": None, "LANG": None}),
    Place("SIGINT and SIGHUP ignored", ignored=(signal.SIGINT, signal.SIGHUP)),
    Place("without a network", prefix=("unshare", "--net", "sh", "-c", _LO_UP, "sh")),
)


def copy_project(folder: Path, user: int | None) -> str:
    """Copy the project to `folder`; return the interpreter of its own .venv there.

    That .venv holds links to what is installed in ours, so nothing is fetched.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in (Path(os.fsdecode(each)) for each in listed.split(b"\0") if each):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to(os.readlink(ROOT / name))
        else:
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode & 0o777)
    own = Path(sys.executable).resolve()
    subprocess.run([own, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / ".venv" / "lib" / version / "site-packages"
    (packages / "project.pth").write_text(f"{folder / 'src'}\n{_INSTALLED}\n", "utf-8")
    if user is not None:
        subprocess.run(["chown", "-R", f"{user}:{user}", folder.parent], check=True)
    return str(folder / ".venv" / "bin" / "python")
