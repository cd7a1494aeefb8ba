"""Do one thing to a session for a command: with its settings, its texts and its signals."""

import os
from collections.abc import Callable, Sequence
from typing import Final

import click
import trio

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.cli.output.question_text import question_note
from turnlog.frontends.cli.signals import until_stopped
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.inbox import STAYS, leave_op
from turnlog.frontends.sessions.operate import Notice, Request
from turnlog.frontends.sessions.operate import operate as operate_in
from turnlog.frontends.sessions.pause_notice import tell_pauses
from turnlog.frontends.sessions.settings import ChosenSettings, changes_nothing
from turnlog.frontends.sessions.store import require_store, working_folder
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Op, OverrideTurnContext
from turnlog.protocol.settings import OnRecovery
from turnlog.runtime.assembly import open_assembly
from turnlog.runtime.config.project import standing_folder
from turnlog.runtime.config.schema import Config
from turnlog.runtime.engine import arguments as doors

ORIGIN: Final = "command line"
_NOTICES: Final[dict[Notice, str]] = {
    "queued": "A turn is running; this comes as soon as its time has come.",
    "left": STAYS,
    "continues": "It continues: `turnlog show -f {session}` shows it.",
}


class _Terminal:
    """Shows notices and questions on stderr."""

    def notice(self, notice: Notice, session: SessionId) -> None:
        click.echo(_NOTICES[notice].format(session=session), err=True)

    async def asked(self, log: EventLog, session: SessionId, question: str) -> None:
        if note := await question_note(log, session, question):
            await _tell(note)


async def say(prefix: str, op: Op) -> Sequence[Recorded]:
    """Leave `op` to the process that runs a session. See `leave_op`, also for errors."""
    return await leave_op(prefix, op, ORIGIN)


async def operate(
    prefix: str,
    op: Op,
    *,
    chosen: ChosenSettings,
    on_recovery: OnRecovery | None = None,
    failure_prefix: str = "nothing was done",
    warn: Callable[[str], None] | None = None,
) -> Sequence[Recorded]:
    """Have a session do `op`; return the events from the op to the end of what it began.

    Where another process runs the session, that one does it. A signal to stop is obeyed.

    Args:
        prefix: the session, as `find_session` takes it.
        chosen: settings that the command line names. The session keeps them, as after a prompt.
        on_recovery: what becomes of a turn that was cut off, if nobody runs the session.
            None: nothing is done then.
        failure_prefix: the beginning of the error text if the op does not succeed.
        warn: is told what the user should know, where the op lets a model run commands.

    Raises:
        UsageError: the op, a setting, the configuration or the chosen folder cannot be used; or
            several sessions fit.
        NotFound: no session fits.
        Rejected, Busy, Failed: as `turnlog.frontends.sessions.operate.operate` says.
        click.exceptions.Exit: a signal came first.
    """
    op = doors.op("op", op)
    require_store(prefix)
    terminal = _Terminal()

    async def work(nursery: trio.Nursery) -> Sequence[Recorded]:
        cwd = standing_folder() if chosen.folder is None else working_folder(chosen.folder)
        config = chosen.load(cwd, os.environ)
        update = chosen.update(config, cwd)
        async with open_assembly(config=config, warn=warn) as assembly:
            engine, log = assembly.engine, assembly.log
            nursery.start_soon(tell_pauses, log, _tell)
            session = await find_session(log, prefix)
            await _warn_of_provider(log, session, chosen, config)
            asked = [op]
            if not changes_nothing(update):
                asked.insert(0, doors.op("op", OverrideTurnContext(update)))
            events: Sequence[Recorded] = ()
            for one in asked:
                request = Request(one, ORIGIN, on_recovery, failure_prefix)
                events = await operate_in(engine, log, session, request, terminal)
            return events

    return await until_stopped(work)


async def _warn_of_provider(
    log: EventLog, session: SessionId, chosen: ChosenSettings, config: Config
) -> None:
    settings = (await folded(log, session)).settings
    if settings is not None and (kept := chosen.kept_provider(config, settings)):
        await _tell(f"Warning: {kept}")


async def _tell(text: str) -> None:
    click.echo(text, err=True)
    await trio.lowlevel.checkpoint()
