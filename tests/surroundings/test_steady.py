"""A test's process, and the children of that, see the same surroundings however it was started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

ROOT = Path(__file__).parents[2]
# Prints what a child of a steady process inherits.
PROGRAM = """
import json, os, subprocess, sys
from tests.surroundings.steady import make_steady
make_steady()
child = '''
import json, os, signal
names = ("SIGINT", "SIGHUP", "SIGTERM", "SIGTSTP", "SIGCHLD", "SIGPIPE")
print(json.dumps({
    "ignored": [n for n in names if signal.getsignal(getattr(signal, n)) == signal.SIG_IGN],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "umask": os.umask(0),
    "environ": dict(os.environ),
}))
'''
sys.stdout.write(subprocess.run([sys.executable, "-c", child], capture_output=True).stdout.decode())
"""


class Inherited(Struct):
    """What a child of a steady process was given."""

    ignored: list[str]
    blocked: list[int]
    umask: int
    environ: dict[str, str]


def inherited(environ: dict[str, str], cwd: Path, *, ignored: tuple[int, ...] = ()) -> Inherited:
    def spoil() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, ignored)
        os.umask(0)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT), **environ},
        cwd=cwd,
        capture_output=True,
        check=True,
        preexec_fn=spoil,
    )
    return msgspec.json.decode(done.stdout, type=Inherited)


def test_children_get_the_default_action_of_signals_that_were_ignored(tmp_path: Path) -> None:
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGCHLD)
    found = inherited({}, tmp_path, ignored=ignored)
    # Python itself ignores SIGPIPE, in each of its processes.
    assert (found.ignored, found.blocked, found.umask) == (["SIGPIPE"], [], 0o022)


def test_the_environment_is_the_same_whatever_was_in_it(tmp_path: Path) -> None:
    own = os.path.dirname(sys.executable)
    spoiled = {
        "HOME": "relative",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "LC_TIME": "C",
        "OPENAI_API_KEY": "secret",
        "TMPDIR": "gone",
        "TURNLOG_HOME": "~",
    }
    found = inherited(spoiled, tmp_path).environ
    home = found.pop("HOME")
    assert home == found.pop("TURNLOG_TEST_HOME")
    assert not os.path.exists(home)  # it goes with the process that made it
    found.pop("LC_CTYPE", None)  # what Python adds itself
    found.pop("LOGNAME", None)  # of a user without an entry in the password file
    assert found == {
        "LANG": "C.UTF-8",
        "PATH": f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": "/tmp",
    }
    assert list(tmp_path.iterdir()) == []
