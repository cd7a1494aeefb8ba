"""`turnlog undo`: drop a session's last turns, and bring back the files that they changed."""

import os
from collections.abc import Sequence
from functools import partial

import click
import trio

from turnlog.actors.core import undo as core_undo
from turnlog.actors.queues.replies import rejection
from turnlog.actors.stored_state.fold import folded
from turnlog.actors.tasks.workspace import edits_since
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.terminal import style
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.events import OpReceived, TurnsRestored
from turnlog.protocol.files import RestoredFile, RestoreStep, TurnWork
from turnlog.protocol.ops import Op, Redo, Undo
from turnlog.protocol.settings import OnRecovery
from turnlog.replay.views.text import counted, one_line

_COLOURS = {"conflict": "red", "failed": "red", "not_covered": "yellow", "untouched": "yellow"}
_STAYED = ("conflict", "failed", "untouched")
_SHOWN = 20  # commands
_WIDTH = 100
_FAILURE_PREFIX = "the conversation stays as it is"


@click.command("undo")
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--turns",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="How many turns to undo, from the last one back.",
)
@click.option(
    "--files/--no-files", default=True, help="Whether files are brought back. Default: --files."
)
@click.option(
    "--conversation/--no-conversation",
    default=True,
    help="Whether the turns are dropped from the conversation. Default: --conversation.",
)
@click.option(
    "--force", is_flag=True, help="Bring back also files that somebody else has changed since."
)
@click.option("--preview", is_flag=True, help="Say what would be done, and do nothing.")
@json_option("Print one file a line, as a JSON object.")
@settings_options
def command(
    session: str,
    turns: int,
    files: bool,
    conversation: bool,
    force: bool,
    preview: bool,
    as_json: bool,
    chosen: ChosenSettings,
) -> None:
    """Undo the last turns of session ID: the conversation and the files are as before them.

    A file that was changed since by somebody else is left alone and named. What a shell command
    changed is brought back only if `[undo] scan_workspace` was on. `turnlog redo` takes it back.
    """
    if not files and not conversation:
        raise click.UsageError("--no-files and --no-conversation leave nothing to undo.")
    asked = Undo(turns, files, conversation, force)
    if preview:
        _say(trio.run(_preview, session, asked), as_json=as_json)
        what = f"{counted(turns, 'turn')} would be dropped"
        click.echo(f"{what if conversation else 'No turn would be dropped'}.", err=True)
        return
    if files:
        trio.run(_warn_of_commands, session, turns)
    show_outcome(session, asked, chosen=chosen, as_json=as_json)


async def _warn_of_commands(prefix: str, turns: int) -> None:
    """Say, before an undo, which commands it does not cover."""
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        state = await folded(log, session)
        if turns <= len(state.marks):
            _tell_commands((await edits_since(log, session, state.marks[-turns].at))[1])


def show_outcome(session: str, op: Op, *, chosen: ChosenSettings, as_json: bool) -> None:
    """Do an undo or a redo, and say what became of each file."""
    from turnlog.frontends.cli.operate import operate

    restored: tuple[RestoredFile, ...] = ()
    recovery: OnRecovery | None = (
        "interrupt" if isinstance(op, Undo) else None
    )  # what is cut off is undone, too
    work = partial(
        operate, session, op, on_recovery=recovery, failure_prefix=_FAILURE_PREFIX, chosen=chosen
    )
    for recorded in trio.run(work):
        if isinstance(recorded.event, TurnsRestored):
            restored = recorded.event.files
    _say(restored, as_json=as_json)
    done = "Taken back." if isinstance(op, Redo) else "Undone; `turnlog redo` takes it back."
    click.echo(done, err=True)
    stayed = [one.outcome for one in restored if one.outcome in _STAYED]
    if stayed:
        click.echo(f"Not restored: {counted(len(stayed), 'file')}.", err=True)
    if "conflict" in stayed:
        back = "undo" if isinstance(op, Redo) else "redo"
        click.echo(
            f"To replace also what somebody else changed: `turnlog {back} {session}`, then this "
            "again with --force.",
            err=True,
        )


def _say(files: Sequence[RestoredFile | RestoreStep], *, as_json: bool) -> None:
    for file in files:
        if as_json:
            print_json(file)
            continue
        outcome = file.action if isinstance(file, RestoreStep) else file.outcome
        label = style(f"{outcome.replace('_', ' '):12}", fg=_COLOURS.get(outcome, "green"))
        click.echo(f"{label} {file.path}  ({file.reason})")


async def _preview(prefix: str, asked: Undo) -> tuple[RestoreStep, ...]:
    from turnlog.frontends.cli.operate import ORIGIN
    from turnlog.runtime.config.home import turnlog_home
    from turnlog.runtime.sandbox.guard import ReadGuard
    from turnlog.runtime.workspace.commands import left_by_commands, made_by_commands
    from turnlog.runtime.workspace.restore import plan_restore

    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        state = await folded(log, session)
        received = OpReceived("", asked, ORIGIN)
        if (refused := core_undo.refusal(state, received)) is not None:
            raise rejection(refused)
        assert state.settings is not None  # a session with turns to undo has them
        if not asked.files:
            return ()
        edits, work = await edits_since(log, session, state.marks[-asked.turns].at)
    cwd, guard = state.settings.cwd, ReadGuard([str(turnlog_home(os.environ))])
    _tell_commands(work)
    left = left_by_commands(cwd, edits, work, guard)
    edits = (*edits, *made_by_commands(cwd, edits, work, guard))
    plan = plan_restore(edits, roots=[cwd], force=asked.force, guard=guard)
    return (*plan.preview, *(RestoreStep(one.path, "not_covered", one.reason) for one in left))


def _tell_commands(work: TurnWork) -> None:
    """Say which commands ran in these turns, where what they changed was not kept."""
    if not work.commands or work.scanned is not None:
        return
    click.echo("What these commands changed is not covered by the undo:", err=True)
    for command in work.commands[:_SHOWN]:
        click.echo(f"  {one_line(command, _WIDTH)}", err=True)
    if len(work.commands) > _SHOWN:
        click.echo(f"  and {len(work.commands) - _SHOWN} more", err=True)
