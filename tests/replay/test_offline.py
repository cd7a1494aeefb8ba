"""Replay reaches nothing: no file, no process, no socket, not even a module."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay.recordings import FILES, named

_WATCHED = """
import sys
from pathlib import Path
from turnlog.actors.core import session
from turnlog.replay.files.portable import read_portable
from turnlog.replay.verify.verifier import divergences

replays = []
for path in map(Path, sys.argv[2:]):
    replays.append(list(read_portable(path.read_bytes().splitlines(keepends=True)).recorded()))

original = session.decide

def reaching(state, fact):
    exec(sys.argv[1])
    return original(state, fact)

session.decide = reaching
reached = []
# What a process can do to the world raises an audit event; compiling and tracing do not reach it.
HARMLESS = ("compile", "exec", "sys._getframe", "object.__getattr__")
watching = False

def watch(event, arguments):
    if watching and event not in HARMLESS:
        reached.append(event)

sys.addaudithook(watch)
watching = True
found = [divergence for records in replays for divergence in divergences(records)]
watching = False
print(sum(map(len, replays)), len(found), *dict.fromkeys(reached))
"""


def watched(planted: str, *paths: Path) -> list[str]:
    """Replay; return the number of events, of differences, and what was reached meanwhile."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, planted, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_replay_reaches_nothing_outside_of_itself() -> None:
    events, found, *reached = watched("pass", *FILES)
    assert int(events) > 400
    assert found == "0"
    assert reached == []


@pytest.mark.parametrize(
    ("planted", "event"),
    [
        ("open('/dev/null')", "open"),
        ("__import__('os').stat('/') and __import__('os').listdir('/')", "os.listdir"),
        ("__import__('socket').socket()", "socket.__new__"),
        ("__import__('subprocess').run(['true'])", "subprocess.Popen"),
        ("import colorsys", "import"),
    ],
)
def test_a_core_that_reaches_out_is_seen(planted: str, event: str) -> None:
    assert event in watched(planted, named("turns"))[2:]
