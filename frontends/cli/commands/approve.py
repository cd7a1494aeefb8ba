"""`turnlog approve`: answer a question, from whichever terminal."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import click
import trio

from turnlog.actors.ports import EventLog
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.questions import Question
from turnlog.frontends.sessions.store import has_store, store_path
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Busy, NotFound, Rejected, UsageError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer, ExecApproval, Submission
from turnlog.replay.views.text import one_line

_WIDTH: Final = 100
_DONE: Final[dict[ApprovalAnswer, str]] = {
    "approved": "Approved",
    "approved_for_session": "Approved, as is the same for the rest of the session",
    "denied": "Declined",
    "abort": "Declined, and the turn is stopped",
}


@click.command("approve")
@click.argument("question", metavar="ID", type=SESSION)
@click.option(
    "--session",
    "for_session",
    is_flag=True,
    help="Run it, and do not ask again for the same in this session.",
)
@click.option("--decline", is_flag=True, help="Do not run it. The turn continues.")
@click.option("--abort", is_flag=True, help="Do not run it, and stop the turn.")
def command(question: str, for_session: bool, decline: bool, abort: bool) -> None:
    """Answer the question ID, as `turnlog approvals` lists it: by default, run it.

    ID may be shortened, or be a session's, if that has one open question. The answer is left in
    the store; the process that runs the session takes it. If none does, the answer waits until
    `turnlog exec resume` continues the session. A question is answered once.
    """
    if for_session + decline + abort > 1:
        raise click.UsageError("Only one of --session, --decline and --abort.")
    answer: ApprovalAnswer = "approved"
    if for_session:
        answer = "approved_for_session"
    elif decline:
        answer = "denied"
    elif abort:
        answer = "abort"
    trio.run(_answer, question, answer)


async def _answer(prefix: str, answer: ApprovalAnswer) -> None:
    from turnlog.frontends.cli.commands.approvals import questions
    from turnlog.frontends.sessions.inbox import taken
    from turnlog.runtime.engine.new_id import new_id
    from turnlog.runtime.store.lmdb.log import open_log

    if not has_store():
        raise _not_found(prefix)
    async with open_log(store_path()) as log:
        asked = await _chosen(log, prefix, await questions(log, warn=lambda _: None))
        op_id, head = new_id(), (await log.head(asked.session)).sequence
        held = await log.holder(asked.session) is not None
        await log.leave(asked.session, Submission(op_id, ExecApproval(asked.id, answer), "approve"))
        if held:
            try:
                await taken(log, asked.session, op_id, head)
            except Rejected:
                raise _answered(asked, "meanwhile") from None
            except Busy as waits:
                click.echo(f"Note: {waits}", err=True)
                return
        click.echo(f"{_DONE[answer]}: {one_line(asked.what, _WIDTH)}", err=True)
        if not held:
            resumed = await _to_be_resumed(log, asked)
            click.echo(
                f"Nobody runs session {asked.session}, so the answer waits. "
                f"`turnlog exec resume {resumed}` continues it.",
                err=True,
            )


async def _chosen(log: EventLog, wanted: str, open_ones: Sequence[Question]) -> Question:
    """Return the question that is meant, by its own id or by its session."""
    found = [one for one in open_ones if wanted and one.id.startswith(wanted)]
    found = found or [one for one in open_ones if wanted and one.session.startswith(wanted)]
    if not found:
        with suppress(NotFound):
            session = await find_session(log, wanted)
            found = [one for one in open_ones if one.session == session]
    if not found:
        raise _not_found(wanted)
    unanswered = [one for one in found if one.answer is None]
    if not unanswered:
        raise _answered(found[0], f"already ({found[0].answer})")
    if len(unanswered) > 1:
        raise _ambiguous(wanted, unanswered)
    return unanswered[0]


def _not_found(wanted: str) -> NotFound:
    return NotFound(
        ErrorCode.QUESTION_NOT_FOUND,
        f"no open question has the id {wanted!r}, nor has a session {wanted!r} one: it may "
        "have been answered already, or its turn is over. `turnlog approvals` lists those "
        "that are open.",
    )


def _ambiguous(wanted: str, found: Sequence[Question]) -> UsageError:
    shown = "\n  ".join(f"{one.id}  {one_line(one.what, _WIDTH)}" for one in found)
    return UsageError(
        ErrorCode.AMBIGUOUS_QUESTION,
        f"{wanted!r} may be one of {len(found)} questions; say which:\n  {shown}",
    )


def _answered(question: Question, when: str) -> Rejected:
    return Rejected(
        ErrorCode.QUESTION_ANSWERED,
        f"question {question.id} was answered {when}, and a question is answered once. "
        f"`turnlog show {question.session}` shows what became of it.",
    )


async def _to_be_resumed(log: EventLog, question: Question) -> SessionId:
    """Return the session to continue: for an agent, the session that started it.

    A parked agent reports to nobody any more: it is continued by itself.
    """
    if question.parked or question.spawned_by is None:
        return question.session
    parents = {one.session: one.spawned_by for one in await log.sessions(limit=10_000)}
    session = question.session
    while (parent := parents.get(session)) is not None:
        session = parent
    return session
