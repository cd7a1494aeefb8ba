"""The demo itself. Each chapter uses what a user would: the command line, or the Python API."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import click
import trio

import turnlog
from turnlog.actors.core.history import LEDGER
from turnlog.actors.core.model_input import model_input
from turnlog.actors.folding import folded
from turnlog.frontends.demo import stage, story
from turnlog.protocol.errors import SandboxUnavailable
from turnlog.protocol.events import ApprovalAsked, ToolFinished, ToolStarted
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import Message, message_text, read_item
from turnlog.protocol.ops import prompt
from turnlog.protocol.settings import SettingsUpdate
from turnlog.replay.verify import divergences, rebuild
from turnlog.runtime.config.load import load_config
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox
from turnlog.runtime.scripted_model.server import serve_script
from turnlog.runtime.store.lmdb_log import LmdbLog, open_log

_NOT_YET: Final = SessionId("")
_PATIENCE: Final = 60  # seconds that any one chapter may take


@attrs.define
class Demo:
    """One run, in a folder of its own."""

    folder: Path
    base_url: str
    sandbox: str
    session: SessionId = _NOT_YET
    before_the_patch: int = 0  # sequence of the event that the branch begins at

    started: list["subprocess.Popen[bytes]"] = attrs.field(factory=list["subprocess.Popen[bytes]"])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TURNLOG_HOME": str(self.home)}

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `turnlog exec WORDS` as a user would, in a process of its own."""
        argv = [sys.executable, "-m", "turnlog", "exec", "--json", *words]
        process = subprocess.Popen(
            argv,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def store(self) -> Path:
        return self.home / "store"


async def run() -> None:
    """Run every chapter; raise if one of them does not hold what it says."""
    with tempfile.TemporaryDirectory(prefix="turnlog-demo-") as name:
        async with serve_script(story.script()) as server:
            demo = Demo(Path(name), server.base_url, await _sandbox_mode())
            try:
                await _play(demo)
            finally:
                for process in demo.started:
                    process.kill()


async def _play(demo: Demo) -> None:
    _prepare(demo)
    for chapter in (
        _session_runs_and_is_killed,
        _session_goes_on,
        _branch_with_a_question,
        _summary_and_undo,
    ):
        with trio.fail_after(_PATIENCE):
            await chapter(demo)
    await _fold_back(demo)


async def _sandbox_mode() -> str:
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner)
        try:
            await sandbox.probe()
        except SandboxUnavailable:
            return "danger-full-access"
        finally:
            sandbox.close()
    return "workspace-write"


def _prepare(demo: Demo) -> None:
    stage.chapter(1, "A project with a bug, and a model that follows a script")
    demo.home.mkdir()
    demo.project.mkdir()
    for name, text in story.FILES.items():
        (demo.project / name).write_text(text)
    (demo.home / "config.toml").write_text(
        f'model = "scripted"\nmodel_provider = "demo"\nsandbox_mode = "{demo.sandbox}"\n\n'
        f'[model_providers.demo]\nbase_url = "{demo.base_url}"\n'
    )
    stage.remark(
        f"The model is a real HTTP server at {demo.base_url} that speaks the Responses API from a "
        f"script: no key, no network. Commands run under the policy {demo.sandbox!r}."
    )
    click.echo(f"\n  greeting.py:  {story.GREETING.splitlines()[1].strip()}")


async def _session_runs_and_is_killed(demo: Demo) -> None:
    stage.chapter(2, "A session runs, and is killed with kill -9 while a command runs")
    stage.command("turnlog", "exec", f'"{story.PROMPT}"')
    stage.remark("Every event is on disk before anybody sees it: ● is a fact, → is a decision.")
    process = demo.command(story.PROMPT)
    async with _opened(demo, process) as log:
        demo.session = await _first_session(log, process)
        started = 0
        async for recorded in log.follow(demo.session):
            stage.event(recorded)
            match recorded.event:
                case ToolFinished() if started == 2:
                    demo.before_the_patch = recorded.sequence
                case ToolStarted():
                    started += 1
                case _:
                    pass
            if started == 4:  # two looks, the patch, and now the command that takes a minute
                break
    await _until(lambda: (demo.project / "deploy.log").exists())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stage.good(f"killed: kill -9 {process.pid}, in the middle of `{story.SLOW_COMMAND[:34]}...`")


async def _session_goes_on(demo: Demo) -> None:
    stage.chapter(3, "Another process takes over, and the turn goes on")
    stage.command("turnlog", "exec", "resume", demo.session[:13])
    stage.remark(
        "Nothing that ran is run again. The model is told the truth about the command that was "
        "cut off, and decides what to do."
    )
    async with open_log(demo.store(), read_only=True) as log:
        before = (await log.head(demo.session)).sequence
        process = demo.command("resume", demo.session)
        async for recorded in log.follow(demo.session, after=before):
            stage.event(recorded)
            if recorded.kind == "session_closed":
                break
    _, complaint = process.communicate()
    _require(process.returncode == 0, f"`turnlog exec resume` failed: {complaint.decode()}")
    deployed = (demo.project / "deploy.log").read_text()
    _require(deployed == "deploying\n", "the command that was cut off ran once, and not again")
    stage.good("deploy.log has one line: the command that was cut off was not run again")
    fixed = (demo.project / "greeting.py").read_text()
    _require("Hello" in fixed, "the patch is in the file")


async def _branch_with_a_question(demo: Demo) -> None:
    stage.chapter(4, "A branch from before the patch, and a question that a person answers")
    environ = demo.environment
    config = load_config(demo.project, environ=environ)
    async with turnlog.open_engine(home=demo.home, config=config) as engine:
        branch = await engine.fork(demo.session, at=demo.before_the_patch)
        stage.command("branch", "=", f"await session.fork(at={demo.before_the_patch})")
        stage.remark(
            f"The branch shares events 1 to {branch.cut} with its parent (to the end of the step), "
            "by reference: it costs one commit at any length. This time through the Python API."
        )
        update = SettingsUpdate(approval_policy="on-request")
        async for recorded in branch.run(prompt(story.BRANCH_PROMPT, update)):
            stage.event(recorded)
            if isinstance(recorded.event, ApprovalAsked):
                question = recorded.event.question
                stage.remark("It waits. Somebody answers from another terminal, by the store:")
                stage.command("turnlog", "approve", question[:13])
                await _turnlog(demo, "approve", question)


async def _summary_and_undo(demo: Demo) -> None:
    stage.chapter(5, "The conversation is summed up, and the turn is undone with its files")
    stage.command("turnlog", "compact", demo.session[:13])
    stage.said(await _turnlog(demo, "compact", demo.session))
    stage.remark("Beside the summary stands what was done, as the log has it and not the model:")
    stage.said(await _ledger(demo))
    stage.command("turnlog", "undo", demo.session[:13])
    stage.said(await _turnlog(demo, "undo", demo.session))
    _require("Helo" in (demo.project / "greeting.py").read_text(), "the file is as it was")
    stage.command("turnlog", "redo", demo.session[:13])
    stage.said(await _turnlog(demo, "redo", demo.session))
    _require("Hello" in (demo.project / "greeting.py").read_text(), "the patch is back")
    stage.remark(
        "A summary and an undo are events like all others: what they took out of the conversation "
        "stays in the log, to be read, replayed and branched from."
    )


async def _ledger(demo: Demo) -> str:
    """Return what the model is told, behind the compaction, of what was done before it."""
    async with open_log(demo.store(), read_only=True) as log:
        history = (await folded(log, demo.session)).history
    item = read_item(history.parts[history.kinds.index(LEDGER)])
    assert isinstance(item, Message)  # it is ours
    return message_text(item)


async def _fold_back(demo: Demo) -> None:
    stage.chapter(6, "Every session is folded back from its log, and decided again offline")
    async with open_log(demo.store(), read_only=True) as log:
        for summary in await log.sessions():
            head = await log.head(summary.session)
            records = await log.read(summary.session, limit=head.sequence)
            state = rebuild(records)
            found = list(divergences(records))
            _require(not found, f"replay differs: {found[:1]}")
            _require(state.digest == head.digest, "the fold ends at the digest of the head")
            calls = sum(isinstance(recorded.event, ToolFinished) for recorded in records)
            kind = "branch " if summary.parent else "session"
            stage.good(
                f"{kind} {summary.session[:13]}: {len(records)} events, {summary.turns} turns, "
                f"{calls} tool results, {len(model_input(state))} parts of model input; "
                f"0 differences, digest {head.digest.hex()[:12]}"
            )
    stage.remark(
        "Replay fed the recorded facts to today's code and compared each decision. It touched no "
        "model, no process and no file. That is what makes each recorded session a test."
    )
    click.echo()


async def _turnlog(demo: Demo, *words: str) -> str:
    """Run a command of the command line to its end; return what it printed."""
    argv = [sys.executable, "-m", "turnlog", *words]
    done = await trio.run_process(
        argv,
        cwd=demo.project,
        env=demo.environment,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    _require(done.returncode == 0, f"`turnlog {words[0]}` failed: {done.stderr.decode()}")
    return done.stdout.decode()


class DemoFailed(Exception):
    """Something that the demo shows does not hold."""


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise DemoFailed(what)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until another process has done something that can only be looked for."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.01)


@asynccontextmanager
async def _opened(demo: Demo, process: subprocess.Popen[bytes]) -> AsyncGenerator[LmdbLog]:
    """Open the store that a process is about to make, once it is there."""
    await _until(lambda: (demo.store() / "data.mdb").exists() or process.poll() is not None)
    _require(process.poll() is None, "`turnlog exec` runs")
    async with open_log(demo.store(), read_only=True) as log:
        yield log


async def _first_session(log: LmdbLog, process: subprocess.Popen[bytes]) -> SessionId:
    while not (sessions := await log.sessions(limit=1)):
        _require(process.poll() is None, "`turnlog exec` runs")
        await trio.sleep(0.01)
    return sessions[0].session


def main() -> int:
    """Run the demo; return the exit code."""
    stage.remark("turnlog: one agent session, from its first prompt to the proof.")
    code = 0
    try:
        trio.run(run)
    except* DemoFailed as group:
        code = 1
        for failed in group.exceptions:
            click.secho(f"  ✗ this does not hold: {failed}", fg="red", err=True)
    return code
