"""The same surroundings for each test, and for each process that a test starts.

A person may start the tests with `nohup`, in the background, from cron, in a container without a
home folder, or with proxies and a locale of their own. A child inherits all of that. So what is
inherited is put right once, before the first test module is imported.
"""

import atexit
import os
import pwd
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

_HOME: Final = "TURNLOG_TEST_HOME"  # how the workers of one run find the home folder of all
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT: Final = frozenset({"HYPOTHESIS_PROFILE", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV"})
_KEPT_PREFIXES: Final = ("TURNLOG_TEST_", "PYTEST_", "COVERAGE_", "COV_")
# Python ignores these two itself, and `subprocess` gives them back to each child.
_PYTHONS_OWN: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


def make_steady() -> None:
    """Put right the signals, the umask and the environment of this process."""
    _hear_signals()
    os.umask(0o022)
    _keep_environment()


def _hear_signals() -> None:
    """Give children the default action of each signal that this process was told to ignore.

    A handler that does nothing still ignores the signal here, as the person asked, but is not
    inherited: the kernel resets handlers, and only ignored signals stay ignored.
    """
    for number in signal.valid_signals() - _PYTHONS_OWN:
        if signal.getsignal(number) is signal.SIG_IGN:
            # Nobody can wait for a child while SIGCHLD is ignored.
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _keep_environment() -> None:
    """Keep the variables that a run may have, and set those that each test relies on."""
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    if "TMPDIR" in os.environ:  # it may be relative, a link, gone, or not ours
        tempfile.tempdir = os.path.realpath(tempfile.gettempdir())
        os.environ["TMPDIR"] = tempfile.tempdir
    # Commands of the tests call python3; there may be none but the one that runs us.
    path = os.environ.get("PATH") or _PATH
    if (own := os.path.dirname(sys.executable)) not in path.split(os.pathsep):
        path = f"{own}{os.pathsep}{path}"
    os.environ["PATH"] = path
    os.environ["HOME"] = _home()
    if not _has_name():  # pytest would share the folder "pytest-of-unknown" with others like us
        os.environ["LOGNAME"] = f"uid-{os.getuid()}"
    os.environ["LANG"] = "C.UTF-8"


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _home() -> str:
    """Return a home folder for this run; the process that made it removes it at its end."""
    home = os.environ.get(_HOME)
    if home is None:
        home = os.environ[_HOME] = tempfile.mkdtemp(prefix="turnlog-test-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    return str(Path(home))
