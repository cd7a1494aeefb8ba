"""The demo itself. Each chapter uses what a user would: the command line, or the Python API."""

import os
import signal
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click
import trio

import turnlog
from turnlog.actors.core.history import LEDGER
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.demo import stage, story
from turnlog.frontends.demo.place import POLICY, Demo, choose_environment, require, until
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import ApprovalAsked, ToolFinished, ToolStarted
from turnlog.protocol.items import Message, message_text, read_item
from turnlog.protocol.ops import prompt
from turnlog.protocol.settings import SettingsUpdate
from turnlog.replay.verify.verifier import divergences, rebuild
from turnlog.runtime.config.load import load_config
from turnlog.runtime.scripted_model.server import serve_script
from turnlog.runtime.store.lmdb.log import open_log

_PATIENCE: Final = 180  # seconds that a chapter may take where something hangs


def main() -> int:
    """Run the demo; return the exit code.

    Raises:
        TurnlogError: something does not work here; Failed: or not as the demo says.
    """
    choose_environment()
    stage.remark("turnlog: one agent session, from its first prompt to the proof.")
    trio.run(run)
    return 0


async def run() -> None:
    """Run every chapter; raise if one of them does not hold what it says."""
    with tempfile.TemporaryDirectory(prefix="turnlog-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()  # noqa: ASYNC240 - nothing else runs yet
        async with serve_script(story.script()) as server:
            demo = Demo(folder, server.base_url)
            try:
                await _play(demo)
            finally:
                demo.end_processes()


async def _play(demo: Demo) -> None:
    for chapter in (
        _project,
        _session_runs_and_is_killed,
        _session_continues,
        _branch_with_a_question,
        _summary_and_undo,
        _fold_back,
    ):
        with trio.move_on_after(_PATIENCE) as limit:
            await chapter(demo)
        require(
            not limit.cancelled_caught,
            f"this chapter had not ended after {_PATIENCE} seconds; the machine may be too slow",
        )


async def _project(demo: Demo) -> None:
    stage.chapter(1, "A project with a bug, and a model that follows a script")
    await demo.prepare()
    stage.remark(
        f"The model is a real HTTP server at {demo.base_url} that speaks the Responses API from a "
        "script: no key, no network."
    )
    if demo.unconfined is None:
        stage.remark(f"Commands run under the policy {POLICY.mode!r}: they can change the project.")
    else:
        stage.remark("Commands run WITHOUT a sandbox, since none works on this machine:")
        stage.said(str(demo.unconfined))
        stage.remark("turnlog would refuse to run them. The demo's own commands do no harm.")
    click.echo(f"\n  greeting.py:  {story.GREETING.splitlines()[1].strip()}")


async def _session_runs_and_is_killed(demo: Demo) -> None:
    stage.chapter(2, "A session runs, and is killed with kill -9 while a command runs")
    stage.command("turnlog", "exec", f'"{story.PROMPT}"')
    stage.remark("Every event is on disk before anybody sees it: ● is a fact, → is a decision.")
    process = demo.start(story.PROMPT)
    started = 0
    async with demo.following(process) as log, aclosing(demo.events(log, process)) as events:
        async for recorded in events:
            match recorded.event:
                case ToolFinished() if started == 2:
                    demo.before_the_patch = recorded.sequence
                case ToolStarted():
                    started += 1
                case _:
                    pass
            if started == 4:  # two looks, the patch, and now the command that takes a minute
                break
    if started == 4:
        await until(lambda: bool(demo.deploy_log) or process.poll() is not None)
    if process.poll() is not None:
        raise Failed(
            ErrorCode.DEMO_FAILED,
            f"the session ended before it could be killed:\n{await demo.why(process)}",
        )
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stage.good(f"killed: kill -9 {process.pid}, while `{story.SLOW_COMMAND}` ran")


async def _session_continues(demo: Demo) -> None:
    stage.chapter(3, "Another process takes over, and the turn continues")
    stage.command("turnlog", "exec", "resume", demo.session[:13])
    stage.remark(
        "Nothing that ran is run again. The model is told the truth about the command that was "
        "cut off, and decides what to do."
    )
    async with open_log(demo.store, read_only=True) as log:
        before = (await log.head(demo.session)).sequence
        process = demo.start("resume", demo.session)
        async for _ in demo.events(log, process, after=before):
            pass
    if process.returncode != 0:
        raise Failed(
            ErrorCode.DEMO_FAILED, f"`turnlog exec resume` failed:\n{await demo.why(process)}"
        )
    require(
        demo.deploy_log == "deploying\n",
        f"the command that was cut off ran once, and not again; it wrote {demo.deploy_log!r}",
    )
    stage.good(f"{story.DEPLOY_LOG} has one line: the command that was cut off was not run again")
    require("Hello" in demo.greeting, f"the patch is in the file; it is {demo.greeting!r}")


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
                stage.remark("It waits. A person answers from another terminal, through the store:")
                stage.command("turnlog", "approve", question[:13])
                await demo.run("approve", question)


async def _summary_and_undo(demo: Demo) -> None:
    stage.chapter(5, "The conversation is summarised, and the turn is undone with its files")
    stage.command("turnlog", "compact", demo.session[:13])
    stage.said(await demo.run("compact", demo.session))
    stage.remark(
        "With the summary goes a list of what was done, from the log and not from the model:"
    )
    stage.said(await _ledger(demo))
    stage.command("turnlog", "undo", demo.session[:13])
    stage.said(await demo.run("undo", demo.session))
    require("Helo" in demo.greeting, f"the file is as it was; it is {demo.greeting!r}")
    stage.command("turnlog", "redo", demo.session[:13])
    stage.said(await demo.run("redo", demo.session))
    require("Hello" in demo.greeting, f"the patch is back; the file is {demo.greeting!r}")
    stage.remark(
        "A summary and an undo are events like all others: what they took out of the conversation "
        "stays in the log, where it can be read, replayed and branched from."
    )


async def _ledger(demo: Demo) -> str:
    """Return what the model is told, after the compaction, of what was done before it."""
    async with open_log(demo.store, read_only=True) as log:
        history = (await folded(log, demo.session)).history
    item = read_item(next(part.text for part in history.parts if part.kind == LEDGER))
    assert isinstance(item, Message)  # it is ours
    return message_text(item)


async def _fold_back(demo: Demo) -> None:
    stage.chapter(6, "Every session is rebuilt from its log, and decided again offline")
    async with open_log(demo.store, read_only=True) as log:
        for summary in await log.sessions():
            head = await log.head(summary.session)
            records = await log.read(summary.session, limit=head.sequence)
            state = rebuild(records)
            found = list(divergences(records))
            require(not found, f"replay differs: {found[:1]}")
            require(
                state.digest == head.digest, "the rebuilt session ends at the digest of the log"
            )
            calls = sum(isinstance(recorded.event, ToolFinished) for recorded in records)
            kind = "branch " if summary.parent else "session"
            stage.good(
                f"{kind} {summary.session[:13]}: {len(records)} events, {summary.turns} turns, "
                f"{calls} tool results; 0 differences"
            )
    stage.remark(
        "Replay fed the recorded facts to today's code and compared each decision. It touched no "
        "model, no process and no file. That is what makes each recorded session a test."
    )
    click.echo()
