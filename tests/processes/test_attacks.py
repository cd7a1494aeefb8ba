"""Commands that try to leave something running, under their attendant: nothing is left.

What a script starts has the name of a file of its own in its arguments, so it is found whatever
else it has dropped.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from shlex import join

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.engine.agents import eventually
from tests.errors import raises_code
from turnlog.protocol.calls import Leftover
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.launcher import kin
from turnlog.runtime.processes.command import CommandResult, Running, run_command
from turnlog.runtime.processes.family import read_process, read_processes
from turnlog.runtime.processes.launch import PROGRAM, attended
from turnlog.runtime.processes.orphans import end_orphans
from turnlog.runtime.processes.spawner import Spawner

# By SIGTERM, or by SIGKILL where a busy machine takes longer than TERM_GRACE to end it.
ENDED = (143, 137)
PYTHON = os.path.realpath(sys.executable)  # a venv's is a link
ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

LIMIT = 100  # seconds that a command may take where the clock jumps to its end
PATIENCE = 240  # seconds for any command: the machine may be slow

# Each runs for ever in the background, and says that it has begun by a file `begun`.
ATTACKS = {
    "a python process that forks into a new session every millisecond": """
import os, time
os.close(1), os.close(2)
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
    open("begun", "a").write("x")
    time.sleep(0.001)
""",
    "a python process that forks into a new session without a pause": """
import os
os.close(1), os.close(2)
open("begun", "a").write("x")
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
""",
    "a daemon: two forks, a session, no environment, no output, another folder": """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
open("begun", "a").write("x")
os.chdir("/")
os.execve(sys.executable, ["python", "-c", "import time; time.sleep(600)", __file__], {})
""",
    "a tree of stopped processes that ignore SIGTERM": """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(4):
    os.fork()
    os.setsid() if os.getpid() != os.getsid(0) else None
os.close(1), os.close(2)
open("begun", "a").write("x")
os.kill(os.getpid(), signal.SIGSTOP)
""",
}
BASH_CHAIN = "chain() { echo x >>begun; sleep 0.001; setsid bash $0 & }; exec >&- 2>&-; chain"


def zombies() -> frozenset[int]:
    """Return the pids of our children that have ended and are not reaped."""
    own = os.getpid()
    return frozenset(
        process.pid
        for process in read_processes().values()
        if process.parent == own and not process.is_alive
    )


@attrs.frozen
class Ground:
    """A folder in which commands run, and what they start can be found by."""

    spawner: Spawner
    folder: Path
    zombies_before: frozenset[int] = attrs.field(factory=zombies)

    async def run(
        self, script: str, *, timeout_ms: int | None = None, started: list[Running] | None = None
    ) -> CommandResult:
        with trio.fail_after(PATIENCE):
            return await run_command(
                self.spawner,
                attended(["bash", "-c", script]),
                cwd=str(self.folder),
                env=ENV,
                timeout_ms=timeout_ms,
                on_started=None if started is None else started.append,
            )

    def attack(self, source: str, interpreter: str = sys.executable) -> str:
        """Return a shell command that runs `source`, and ends when that has begun."""
        file = self.folder / "attack"
        file.write_text(source)
        return f"{join([interpreter, str(file)])} & until test -s begun; do sleep 0.01; done"

    def left(self) -> list[int]:
        """Return the pids of what runs the attack."""
        return running_with(str(self.folder / "attack"))

    def zombies(self) -> list[int]:
        """Return the pids of those that our commands have left to be reaped."""
        return sorted(zombies() - self.zombies_before)


def running_with(argument: str) -> list[int]:
    """Return the pids of processes, other than shells that wait for it, with this argument."""
    word = argument.encode()
    found: list[int] = []
    for pid in read_processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word in words:
            found.append(pid)
    return found


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncGenerator[Ground]:
    async with Spawner() as spawner:
        yield Ground(spawner, tmp_path)


@pytest.mark.parametrize("source", ATTACKS.values(), ids=ATTACKS.keys())
async def test_nothing_is_left_when_the_command_has_ended(ground: Ground, source: str) -> None:
    result = await ground.run(ground.attack(source) + "; echo over")
    assert (result.exit_code, result.output, ground.left()) == (0, b"over\n", [])
    # A chain may be between two of its processes where it is looked at, and then has no name.
    assert result.left is None or result.left.ended > 0
    assert ground.zombies() == []


async def test_a_shell_that_starts_itself_in_a_new_session_is_ended(ground: Ground) -> None:
    result = await ground.run(ground.attack(BASH_CHAIN, "bash"))
    assert (result.exit_code, ground.left(), ground.zombies()) == (0, [], [])


@pytest.mark.parametrize("source", ATTACKS.values(), ids=ATTACKS.keys())
async def test_nothing_is_left_after_a_timeout(
    ground: Ground, source: str, mock_clock: MockClock
) -> None:
    """The clock jumps as soon as the attack has begun, however long that takes."""

    async def run() -> None:
        script = ground.attack(source) + "; echo begun; touch waiting; sleep 600"
        results.append(await ground.run(script, timeout_ms=LIMIT * 1000))

    mock_clock.rate = 1
    results: list[CommandResult] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await eventually((ground.folder / "waiting").exists)
        mock_clock.jump(LIMIT)
    (result,) = results
    assert (result.output, result.timed_out, ground.left()) == (b"begun\n", True, [])
    assert ground.zombies() == []


@pytest.mark.parametrize("source", ATTACKS.values(), ids=ATTACKS.keys())
async def test_nothing_is_left_when_the_call_is_cancelled(ground: Ground, source: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ground.run, ground.attack(source) + "; sleep 600")
        await eventually((ground.folder / "begun").exists)
        nursery.cancel_scope.cancel()
    assert (ground.left(), ground.zombies()) == ([], [])


async def test_children_with_sessions_of_their_own_leave_no_zombies(ground: Ground) -> None:
    """Neither with the attendant while the command runs, nor with us after it."""
    script = """
        has_zombies() {
            cat /proc/$PPID/task/*/children >all
            for pid in $(cat all); do grep -s State /proc/$pid/status; done | grep -q Z
        }
        for i in $(seq 100); do setsid --fork true; done
        while has_zombies; do sleep 0.01; done
        echo reaped
    """
    result = await ground.run(script)
    assert (result.output, ground.zombies()) == (b"reaped\n", [])


# --- the command's own pipeline -------------------------------------------------------------------

WAITED_FOR = {
    "a substitution that is slow": "echo data | tee >(sleep 0.5; sort >f) >/dev/null",
    "two of them": "echo data | tee >(sleep 0.5; cat >f) >(sleep 0.3; cat >g) >/dev/null",
    "a pipeline in one": "echo data | tee >(sort | (sleep 0.5; cat) >f) >/dev/null",
    "one that starts others": "echo data | tee >(while read x; do sleep 0.5; echo $x >f; done) >g",
    "all output through one": "exec > >(sleep 0.5; cat >f); echo data",
    "all output through one, beside a server": "exec > >(sleep 0.5; cat >f); echo data; exec >&-",
    "a loop at the end": "echo data | while read x; do sleep 0.5; echo $x >f; done",
    "a coprocess": 'coproc { sleep 0.5; cat >f; }; echo data >&"${COPROC[1]}"',
    "one in the background that is waited for": "(sleep 0.5; echo data >f) & wait",
}


@pytest.mark.parametrize("script", WAITED_FOR.values(), ids=WAITED_FOR.keys())
async def test_a_pipeline_of_the_commands_own_is_waited_for(ground: Ground, script: str) -> None:
    result = await ground.run(script)
    assert (result.exit_code, (ground.folder / "f").read_text()) == (0, "data\n")
    assert result.left is None


async def test_a_pipeline_that_ends_as_its_command_does_is_not_cut(ground: Ground) -> None:
    """One that is just ending has closed its input already, and still is no background job."""

    async def run() -> None:
        results.append(await ground.run("echo data | tee >(sleep 0.05; sort >/dev/null)"))

    results: list[CommandResult] = []
    for _ in range(8):  # few at once: on a busy machine, one that is ending takes its time
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(run)
    assert {(result.exit_code, result.output, result.left) for result in results} == {
        (0, b"data\n", None)
    }


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("sleep 600 & true", ["sleep 600"]),
        ("nohup sleep 600 >/dev/null 2>&1 &", ["sleep 600"]),
        ("(sleep 600 | cat) &", ["a subshell", "sleep 600", "cat"]),
        ("tail -f /dev/null | grep x &", ["tail -f /dev/null", "grep x"]),
        ("sleep 600 & echo data | tee >(sleep 0.5; cat >f) >/dev/null", ["sleep 600"]),
        ("setsid --fork sleep 600", ["sleep 600"]),
    ],
)
async def test_what_runs_in_the_background_is_ended_and_named(
    ground: Ground, script: str, names: list[str]
) -> None:
    """Each is named as the program that it has become: a shell starts it, and may end before."""

    async def run() -> None:
        waits = f"{script}\nuntil test -e go; do sleep 0.01; done"
        results.append(await ground.run(waits, started=started))

    def all_have_begun() -> bool:
        lines = [kin.command_line(pid) for each in started for pid in kin.descendants(each.pid)]
        return {b"\0".join((*name.encode().split(), b"")) for name in names} <= {
            *lines,
            b"a\0subshell\0",
        }

    started: list[Running] = []
    results: list[CommandResult] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await eventually(all_have_begun)
        (ground.folder / "go").touch()
    (result,) = results
    assert (result.exit_code, result.timed_out) == (0, False)
    assert result.left is not None
    said = [name.partition(" (pid ")[0] for name in result.left.names]
    assert (sorted(said), result.left.ended) == (sorted(names), len(names))


async def test_the_last_words_of_a_background_job_reach_the_reader_of_its_pipe(
    ground: Ground,
) -> None:
    """What fills a pipe is ended first, so the one who reads it comes to its own end."""
    await ground.run("(trap 'echo bye; exit' TERM; sleep 600 & wait) > >(cat >f; echo >>f) & true")
    assert (ground.folder / "f").read_text() == "bye\n\n"


async def test_a_pipeline_is_waited_for_within_the_time_limit(ground: Ground) -> None:
    result = await ground.run("echo | tee >(cat; sleep 600) >/dev/null", timeout_ms=1500)
    assert (result.timed_out, result.left) == (True, None)
    assert result.duration_seconds >= 1.5


async def test_no_more_than_five_processes_are_named_and_all_are_counted(ground: Ground) -> None:
    result = await ground.run("for i in $(seq 8); do sleep 60$i & done")
    assert result.left is not None
    assert (result.left.ended, len(result.left.names)) == (8, 5)


# --- the attendant itself -------------------------------------------------------------------------


async def test_a_command_that_kills_its_attendant_ends_and_says_that_something_may_be_left(
    ground: Ground,
) -> None:
    """Without a sandbox it can; what it gave its mark to is found and ended all the same."""
    script = "setsid bash -c 'sleep 600' attack & sleep 0.1; kill -9 $PPID; sleep 600"
    result = await ground.run(script.replace("attack", str(ground.folder / "attack")))
    assert (result.exit_code, result.left) == (137, Leftover(lost=True))
    assert (ground.left(), ground.zombies()) == ([], [])


async def test_an_attendant_that_its_command_has_stopped_still_ends_it(ground: Ground) -> None:
    result = await ground.run("kill -STOP $PPID; sleep 600", timeout_ms=500)
    assert (result.exit_code in ENDED, result.timed_out, result.left) == (True, True, None)
    assert ground.zombies() == []


async def test_an_attendant_that_stays_stopped_is_killed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlog.runtime.processes.command._STOP_PATIENCE", 0.5)
    script = "while true; do kill -STOP $PPID; done"
    result = await ground.run(script, timeout_ms=500)
    assert (result.timed_out, ground.zombies()) == (True, [])


async def test_a_signal_that_ends_services_ends_the_command_of_an_attendant(
    ground: Ground,
) -> None:
    """`systemctl stop` and a shutdown send SIGTERM to every process of a service."""
    started: list[Running] = []
    results: list[CommandResult] = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            results.append(await ground.run("touch begun; sleep 600", started=started))

        nursery.start_soon(run)
        await eventually((ground.folder / "begun").exists)
        os.kill(started[0].pid, signal.SIGTERM)
    assert [(result.exit_code in ENDED, result.left) for result in results] == [(True, None)]


def test_an_attendant_that_cannot_fork_says_so() -> None:
    """Another user may run one process, which is the attendant: root has no such limit."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root can take another user's place")
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or PYTHON
    line = ["setpriv", "--reuid", "54321", "--clear-groups", "prlimit", "--nproc=1", python]
    ended = subprocess.run(
        [*line, *attended(["true"])[1:]], capture_output=True, text=True, check=False, cwd="/"
    )
    if ended.returncode != 125 and "ermission denied" in ended.stderr:
        pytest.skip("NOT RUN: another user cannot read this Python, or this package")
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        125,
        "",
        "turnlog: the command was not run: Resource temporarily unavailable (EAGAIN)\n",
    )


@contextmanager
def few_descriptors(more: int) -> Generator[None]:
    """Let this process open only `more` files beyond those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir("/proc/self/fd")))
    free = (number for number in range(len(used) + more + 1) if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, more, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("more", range(7))
async def test_a_lack_of_descriptors_costs_one_command(ground: Ground, more: int) -> None:
    """Wherever it strikes: nothing ran, none leaks, and the next command runs."""
    await ground.run("true")
    before = sorted(os.listdir("/proc/self/fd"))
    with few_descriptors(more), raises_code(ErrorCode.COMMAND_NOT_STARTED, match=r"\(EMFILE\)"):
        await ground.run("touch ran")
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert not (ground.folder / "ran").exists()
    assert (await ground.run("echo next")).output == b"next\n"


async def test_a_command_starts_by_a_linked_interpreter_in_any_folder(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = ground.folder / "mit Leerzeichen und ümlaut" / "python"
    link.parent.mkdir()
    link.symlink_to(PYTHON)
    monkeypatch.setattr(sys, "executable", str(link))
    assert (await ground.run("echo hi")).output == b"hi\n"


async def test_every_signal_has_its_default_action_in_a_command(ground: Ground) -> None:
    """Whatever we ignore ourselves, as a shell's background jobs ignore SIGINT."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        result = await ground.run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
    finally:
        signal.signal(signal.SIGUSR1, before)
    of_threads = 0b11 << 31  # signals 32 and 33: the C library keeps them for itself
    masks = {int(line.split()[1], 16) & ~of_threads for line in result.output.splitlines()}
    assert masks == {0}


async def test_a_command_is_given_nothing_of_its_attendants(ground: Ground) -> None:
    result = await ground.run("env | grep -c TURNLOG_CONTROL; ls /proc/self/fd | wc -l")
    assert result.output == b"0\n4\n"  # the fourth is the listing itself


# --- the death of the engine ----------------------------------------------------------------------

ENGINE = """
import os, sys, trio
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.launch import attended
from turnlog.runtime.processes.spawner import Spawner

async def main():
    async with Spawner() as spawner:
        await run_command(spawner, attended(["bash", "-c", sys.argv[1]]), cwd=sys.argv[2],
                          env={"PATH": os.environ["PATH"]})

trio.run(main)
"""


@contextmanager
def engine(ground: Ground, script: str) -> Generator["subprocess.Popen[bytes]"]:
    arguments = [sys.executable, "-c", ENGINE, script, str(ground.folder)]
    with subprocess.Popen(arguments) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("source", ATTACKS.values(), ids=ATTACKS.keys())
async def test_when_an_engine_is_killed_its_commands_end_before_the_next_one_continues(
    ground: Ground, source: str
) -> None:
    with engine(ground, ground.attack(source) + "; sleep 600") as process:
        await eventually((ground.folder / "begun").exists)
        process.kill()
        process.wait()
        assert (await end_orphans()).left == ()
    assert ground.left() == []


async def test_attendants_that_were_killed_with_their_engine_leave_what_bears_its_name(
    ground: Ground,
) -> None:
    """`pkill -9 -f turnlog` takes both."""
    script = f"setsid --fork bash -c 'touch begun; sleep 600' {ground.folder / 'attack'}; sleep 600"
    with engine(ground, script) as process:
        await eventually((ground.folder / "begun").exists)
        attendants = [pid for pid in running_with(PROGRAM) if parent(pid) == process.pid]
        assert len(attendants) == 1
        process.kill()
        os.kill(attendants[0], signal.SIGKILL)
        process.wait()
        await end_orphans()
    assert ground.left() == []


def parent(pid: int) -> int | None:
    process = read_process(pid)
    return None if process is None else process.parent
