"""A machine that is not kind: each fault is named, or passed over; never a bug of turnlog's.

Real processes in real surroundings. Each row says what the machine is like, and what is told.
"""

import os
import re
import resource
import shlex
import subprocess
from collections.abc import Mapping

import attrs
import pytest

from tests.cli.harness import TURNLOG, Outcome, User, in_thread
from tests.warm.client import start
from turnlog.runtime.scripted_model.script import call, message

ANSWER = "Ünser answer."
ELSEWHERE = ("exec", "-c", 'model_providers.local.base_url="{scheme}://turnlog.invalid/v1"', "go")
RUN = ("exec", "go")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
AS_UNKNOWN = ("unshare", "--user", "--map-user=54321")
WORKS = ANSWER  # what is told where nothing is wrong: the answer, on stdout


@attrs.frozen
class Place:
    """What a command finds."""

    told: str  # on stderr; or the answer, on stdout
    words: tuple[str, ...] = RUN
    env: Mapping[str, str] = attrs.field(factory=dict[str, str])
    without: tuple[str, ...] = ()  # variables
    shell: str | None = None  # starts the command
    limits: Mapping[int, int] = attrs.field(factory=dict[int, int])
    code: int | None = None  # 0 where it works, else 1


def elsewhere(told: str, scheme: str = "http", **env: str) -> Place:
    """Return a place in which a server of another machine is asked, which there is not."""
    return Place(told, tuple(word.replace("{scheme}", scheme) for word in ELSEWHERE), env)


NO_SERVER = "Connection failed: "  # and no more: what the environment says has been passed over
PROXY = "holds no address of a proxy."
SSL = "and the certificates cannot be loaded:"

PLACES = {
    "kind": Place(WORKS),
    # --- the network, as variables say
    "NO_PROXY with [::1]": elsewhere(NO_SERVER, NO_PROXY="localhost,[::1],::1"),
    "NO_PROXY with a range": elsewhere(NO_SERVER, NO_PROXY="10.0.0.0/8,fe80::/10"),
    "NO_PROXY with a wrong range": elsewhere(NO_SERVER, NO_PROXY="10.0.0.0/99,[,]:x,://,%"),
    "NO_PROXY, lower case": elsewhere(NO_SERVER, no_proxy="[::1]"),
    "NO_PROXY and loopback": Place(WORKS, env={"NO_PROXY": "[::1],10.0.0.0/8"}),
    "HTTP_PROXY without sense": elsewhere(f"HTTP_PROXY {PROXY}", HTTP_PROXY="::::"),
    "HTTP_PROXY without a host": elsewhere(f"HTTP_PROXY {PROXY}", HTTP_PROXY="http://"),
    "http_proxy with a wrong port": elsewhere(f"http_proxy {PROXY}", http_proxy="http://a:99999"),
    "ALL_PROXY of an unknown kind": elsewhere(f"ALL_PROXY {PROXY}", ALL_PROXY="gopher://a:1"),
    "ALL_PROXY with SOCKS": elsewhere("that ALL_PROXY names", ALL_PROXY="socks5://127.0.0.1:1"),
    "HTTP_PROXY that is down": elsewhere(
        "(through the proxy of HTTP_PROXY)", HTTP_PROXY="http://127.0.0.1:1"
    ),
    "proxies and loopback": Place(WORKS, env={"HTTP_PROXY": "::::", "ALL_PROXY": "gopher://a"}),
    "SSL_CERT_FILE gone": elsewhere(
        f"SSL_CERT_FILE is '/none.pem', {SSL}", "https", SSL_CERT_FILE="/none.pem"
    ),
    "SSL_CERT_FILE empty": elsewhere(
        f"SSL_CERT_FILE is '/dev/null', {SSL}", "https", SSL_CERT_FILE="/dev/null"
    ),
    "SSL_CERT_DIR gone": elsewhere(
        f"SSL_CERT_DIR is '/none', {SSL}", "https", SSL_CERT_DIR="/none"
    ),
    "SSLKEYLOGFILE nowhere": elsewhere(
        f"SSLKEYLOGFILE is '/none/keys', {SSL}", "https", SSLKEYLOGFILE="/none/keys"
    ),
    "certificates gone, and loopback": Place(WORKS, env={"SSL_CERT_FILE": "/none.pem"}),
    # --- stdin, stdout, stderr
    "stdout full": Place("stdout cannot be written: No space", shell='exec "$@" >/dev/full'),
    "stdout full, JSON": Place(
        "stdout cannot be written: No space", ("exec", "--json", "go"), shell='exec "$@" >/dev/full'
    ),
    "stdout full, help": Place(
        "stdout cannot be written: No space", ("--help",), shell='exec "$@" >/dev/full'
    ),
    "stderr full": Place(WORKS, shell='exec "$@" 2>/dev/full'),
    "stdout not for writing": Place("stdout cannot be written: Bad file", shell='"$@" 1</dev/null'),
    "stdin not for reading": Place("stdin cannot be read: Bad file", shell='"$@" 0>/dev/null'),
    "stdin closed": Place(WORKS, shell='exec "$@" <&-'),
    "stderr closed": Place(WORKS, shell='exec "$@" 2>&-'),
    "stdout closed": Place("", shell='exec "$@" >&-', code=0),
    "all closed": Place("", shell='exec "$@" <&- >&- 2>&-', code=0),
    # --- folders
    "current folder gone": Place(
        "the current folder has been removed", shell='mkdir x; cd x; rmdir ../x; exec "$@"'
    ),
    "current folder gone, another named": Place(
        WORKS, ("exec", "-C", "/", "go"), shell='mkdir x; cd x; rmdir ../x; exec "$@"'
    ),
    "current folder gone, output named": Place(
        "the current folder has been removed",
        ("exec", "-C", "/", "-o", "x", "go"),
        shell='mkdir x; cd x; rmdir ../x; exec "$@"',
    ),
    "current folder gone, a list": Place(
        "There are no sessions in",
        ("sessions",),
        shell='cd /; mkdir -p /tmp/x$$; cd /tmp/x$$; rmdir /tmp/x$$; exec "$@"',
        code=0,
    ),
    "HOME relative": Place(
        "HOME is 'work', which is not absolute", env={"HOME": "work"}, without=("TURNLOG_HOME",)
    ),
    "HOME is ~": Place(
        "HOME is '~', which is not absolute", env={"HOME": "~"}, without=("TURNLOG_HOME",)
    ),
    "HOME cannot be written": Place(
        "/proc/.turnlog/store cannot hold a store", env={"HOME": "/proc"}, without=("TURNLOG_HOME",)
    ),
    "TURNLOG_HOME is a file": Place("/etc/passwd", env={"TURNLOG_HOME": "/etc/passwd"}),
    "HOME empty, and not needed": Place(WORKS, env={"HOME": ""}),
    "TMPDIR gone": Place(WORKS, env={"TMPDIR": "/none/none"}),
    "umask 777": Place(WORKS, shell='umask 777; exec "$@"'),
    # --- words and times
    "a locale of ASCII": Place(WORKS, ("exec", "gö"), env=ASCII),
    "ASCII, and a folder that is not": Place(WORKS, env=ASCII, shell='mkdir ö; cd ö; exec "$@"'),
    "output in ASCII": Place(WORKS, env={"PYTHONIOENCODING": "ascii:strict"}),
    "an unknown language": Place(WORKS, env={"LANG": "xx_YY.none", "LC_ALL": "xx_YY.none"}),
    "an unknown time zone": Place(WORKS, env={"TZ": "No/Where"}),
    "a time zone that is a path": Place(WORKS, env={"TZ": ":/etc/../none"}),
    "an unknown terminal": Place(WORKS, env={"TERM": "none", "COLUMNS": "x", "LINES": "-1"}),
    "no terminal at all": Place(WORKS, without=("TERM",)),
    "COLUMNS without sense": Place("", ("--help",), env={"COLUMNS": "x"}, code=0),
    "no PATH": Place(WORKS, without=("PATH",)),
    "warnings are errors": Place(WORKS, env={"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}),
    "without asserts and docstrings": Place(WORKS, env={"PYTHONOPTIMIZE": "2"}),
    "TURNLOG_SANDBOX_MODE without sense": Place(
        "$TURNLOG_SANDBOX_MODE (environment)", env={"TURNLOG_SANDBOX_MODE": "none"}
    ),
    "TURNLOG_PROFILE without sense": Place("profile 'none'", env={"TURNLOG_PROFILE": "none"}),
    # --- signals
    "signals ignored": Place(WORKS, shell="trap '' INT TERM HUP PIPE TTOU; exec \"$@\""),
    "in the background": Place(WORKS, shell='"$@" & wait $!'),
    # --- limits
    "few descriptors": Place("ulimit -n", limits={resource.RLIMIT_NOFILE: 8}),
    "just too few descriptors": Place("ulimit -n", limits={resource.RLIMIT_NOFILE: 12}),
    "little memory": Place("ulimit -v", limits={resource.RLIMIT_AS: 100 << 20}),
    "no room in files": Place("ulimit -f", limits={resource.RLIMIT_FSIZE: 0}),
}


@pytest.mark.parametrize("name", PLACES)
async def test_the_surroundings_are_named_or_passed_over(user: User, name: str) -> None:
    place = PLACES[name]
    command = call("exec_command", {"cmd": "true"})
    async with user.model([command], [message(ANSWER)], loop=True):
        done = await run(user, place)
    check(place, done)
    assert not (user.cwd / "~").exists()


async def run(user: User, place: Place) -> Outcome:
    env = {**user.environment({"TERM": "xterm"}), **place.env}
    for name in place.without:
        env.pop(name, None)
    if place.shell is None and not place.limits:
        return await user.run_program(user.program(*place.words)._replace(environment=env))
    return await run_again(user, place, env)


async def run_again(user: User, place: Place, env: Mapping[str, str]) -> Outcome:
    """Run a command in a new process, with the limits and by the shell of its place."""

    def limit() -> None:
        for what, most in place.limits.items():
            resource.setrlimit(what, (most, most))

    argv = ["/bin/bash", "-c", place.shell or 'exec "$@"', "bash", *TURNLOG, *place.words]
    done = await in_thread(
        lambda: subprocess.run(
            argv,
            cwd=user.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            preexec_fn=limit,
        )
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def check(place: Place, done: Outcome) -> None:
    assert not re.search("bug in turnlog|Traceback|crashed|internal_error", done.err), done.err
    if place.told == WORKS:
        assert (done.code, done.out) == (0, f"{ANSWER}\n"), done.err
        return
    assert place.told in done.err
    assert done.code == (1 if place.code is None else place.code)
    if done.code and place.told not in (NO_SERVER,):
        assert re.search(r"^Error: .* \[[a-z_]+\]\Z", done.err.strip(), re.MULTILINE), done.err


async def test_all_is_written_to_a_pipe_that_does_not_wait(user: User) -> None:
    whole = (await user.run("schema")).out
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with start(user.program("schema"), stdout=writes) as process:
        os.close(writes)
        with os.fdopen(reads, "rb") as stream:
            found = await in_thread(stream.read)
        assert await process.ended() == 0
    assert len(found) > 1 << 16  # more than a pipe holds
    assert found.decode() == whole


async def test_a_prompt_is_waited_for_on_a_stdin_that_does_not_wait(user: User) -> None:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    async with user.model(ANSWER):
        started = user.start("exec", "--json", stdin=reads)
        os.close(reads)
        assert await started.read_note() == "Reading prompt from stdin...\n"
        os.write(writes, b"said ")
        os.write(writes, b"late")
        os.close(writes)
        outcome = await started.finished()
        shown = await user.show(outcome.thread)
    assert outcome.code == 0
    assert "said late" in [
        item["text"] for line in shown for item in line["event"].get("op", {}).get("items", ())
    ]


def may_be_another_user() -> bool:
    """Say whether a command can run as a user whom the machine does not know."""
    try:
        return subprocess.run([*AS_UNKNOWN, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


async def test_a_user_whom_the_machine_does_not_know_is_told_to_name_a_home(user: User) -> None:
    if not await in_thread(may_be_another_user):
        pytest.skip("needs `unshare` and user namespaces")
    place = Place(
        "HOME is not set, and user 54321 has no entry in the password file. Set TURNLOG_HOME",
        without=("HOME", "TURNLOG_HOME"),
        shell=f'exec {shlex.join(AS_UNKNOWN)} "$@"',
    )
    done = await run(user, place)
    check(place, done)
    assert done.err.endswith("[home_unknown]\n")
    assert list(user.cwd.iterdir()) == []
