"""Where the demo takes place: its folders, its configuration, and the processes that it starts."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from turnlog.frontends.demo import stage, story
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed, Unavailable, with_code
from turnlog.protocol.events import ToolFinished, TurnEnded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.assembly import open_sandbox
from turnlog.runtime.store.lmdb.log import LmdbLog, open_log

_NOT_YET: Final = SessionId("")
_PERIOD: Final = 0.02  # seconds between two looks at what another process does
_GRACE: Final = 5.0  # seconds that a process is given to end by itself

_KEPT: Final = frozenset({"TURNLOG_DEBUG", "TURNLOG_SANDBOX"})  # of what turnlog itself reads

# Commands may write in the project alone: the home beside it, with the store, stays out of reach.
POLICY: Final = SandboxPolicy(
    mode="workspace-write", exclude_slash_tmp=True, exclude_tmpdir_env_var=True
)
_CONFIG: Final = """\
model = "scripted"
model_provider = "demo"
sandbox_mode = "{mode}"

[sandbox_workspace_write]
exclude_slash_tmp = true
exclude_tmpdir_env_var = true

[model_providers.demo]
base_url = "{base_url}"
"""


@attrs.define
class Demo:
    """One run, in a folder of its own."""

    folder: Path
    base_url: str
    session: SessionId = _NOT_YET
    before_the_patch: int = 0  # sequence of the event that the branch begins at
    unconfined: Unavailable | None = None  # why commands cannot be confined here
    started: list["subprocess.Popen[bytes]"] = attrs.field(factory=list["subprocess.Popen[bytes]"])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def greeting(self) -> str:
        """The file that has the bug."""
        return (self.project / "greeting.py").read_text()

    @property
    def deploy_log(self) -> str:
        """What the deployment has written so far."""
        path = self.project / story.DEPLOY_LOG
        return path.read_text() if path.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        """Ours, with the demo's home."""
        return {**os.environ, "TURNLOG_HOME": str(self.home)}

    async def prepare(self) -> None:
        """Make the folders, the project and the configuration.

        Where commands cannot be confined, they run without a sandbox: the script is known, and
        does no harm.
        """
        self.home.mkdir()
        for name, text in story.FILES.items():
            path = self.project / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        self.unconfined = await self._complaint()
        mode = "danger-full-access" if self.unconfined else POLICY.mode
        config = _CONFIG.format(mode=mode, base_url=self.base_url)
        (self.home / "config.toml").write_text(config)

    async def _complaint(self) -> Unavailable | None:
        async with open_sandbox(self.environment) as sandbox:
            return await sandbox.complaint(
                POLICY, workspace=str(self.project), env=self.environment
            )

    # --- processes ---------------------------------------------------------------------------

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start `turnlog exec WORDS` as a user would, in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "turnlog", "exec", "--json", *words],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"stderr-{len(self.started)}").open("wb"),
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def complaint_of(self, process: "subprocess.Popen[bytes]") -> str:
        """Return what a process has written to stderr."""
        path = self.folder / f"stderr-{self.started.index(process)}"
        return path.read_text(errors="replace").strip()

    async def run(self, *words: str) -> str:
        """Run a command of the command line to its end; return what it printed.

        Raises:
            Failed: it failed.
        """
        done = await trio.run_process(
            [sys.executable, "-m", "turnlog", *words],
            cwd=self.project,
            env=self.environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        require(done.returncode == 0, f"`turnlog {words[0]}` failed: {done.stderr.decode()}")
        return done.stdout.decode()

    def end_processes(self) -> None:
        """Let what still runs end its commands and itself, and kill what does not."""
        running = [process for process in self.started if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- what a process does -----------------------------------------------------------------

    @asynccontextmanager
    async def following(self, process: "subprocess.Popen[bytes]") -> AsyncGenerator[LmdbLog]:
        """Open the store, once a process has made it and begun the session there.

        Raises:
            Failed: the process ended before that.
        """
        await until(lambda: (self.store / "data.mdb").exists() or process.poll() is not None)
        self._require_runs(process)
        async with open_log(self.store, read_only=True) as log:
            while not (sessions := await log.sessions(limit=1)):
                self._require_runs(process)
                await trio.sleep(_PERIOD)
            self.session = sessions[0].session
            yield log

    def _require_runs(self, process: "subprocess.Popen[bytes]") -> None:
        said = self.complaint_of(process)
        require(process.poll() is None, f"`turnlog exec` ended before it began a session: {said}")

    async def events(
        self, log: LmdbLog, process: "subprocess.Popen[bytes]", *, after: int = 0
    ) -> AsyncGenerator[Recorded]:
        """Show and yield the session's events as they come, until the process has ended."""
        while True:
            has_ended = process.poll() is not None  # asked first, so that nothing is missed
            head = (await log.head(self.session)).sequence
            for recorded in await log.read(self.session, after=after) if head > after else ():
                after = recorded.sequence
                stage.event(recorded)
                yield recorded
            if has_ended:
                return
            await trio.sleep(_PERIOD)

    async def why(self, process: "subprocess.Popen[bytes]") -> str:
        """Return, uncut, what a session and its process say of how they ended."""
        said = [f"exit code {process.poll()}"]
        async with open_log(self.store, read_only=True) as log:
            for recorded in await log.read(self.session) if self.session else ():
                match recorded.event:
                    case ToolFinished(outcome="failed") as event:
                        said.append(f"event {recorded.sequence}: {event.preamble}{event.output}")
                    case TurnEnded(error=error) if error is not None:
                        said.append(
                            with_code(f"event {recorded.sequence}: {error.message}", error.code)
                        )
                    case _:
                        pass
        return "\n".join([*said, self.complaint_of(process)])


def choose_environment() -> None:
    """Keep from this process what would lead the demo elsewhere: its settings are its own.

    The model is on this machine, so neither proxies nor certificates are needed. Commands find
    the `python3` that runs the demo; there may be no other.
    """
    for name in list(os.environ):
        is_setting = name.startswith("TURNLOG_") and name not in _KEPT
        is_of_network = name.upper().endswith("_PROXY") or name.startswith("SSL_CERT_")
        if is_setting or is_of_network:
            del os.environ[name]
    path = (os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath))
    os.environ["PATH"] = os.pathsep.join(part for part in path if part)


def require(holds: bool, what: str) -> None:
    """Raise Failed if something does not hold."""
    if not holds:
        raise Failed(ErrorCode.DEMO_FAILED, what)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until another process has done something that can only be looked for."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(_PERIOD)
