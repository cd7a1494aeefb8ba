"""`turnlog approvals`: the questions that wait for an answer, in all sessions."""

from collections.abc import Callable

import click
import trio
from msgspec.structs import replace

from turnlog.actors.ports import EventLog
from turnlog.actors.stored_state.fold import folded
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.question_text import question_text
from turnlog.frontends.cli.output.terminal import secho
from turnlog.frontends.sessions.questions import Question, open_questions
from turnlog.frontends.sessions.store import has_store, reading
from turnlog.protocol.errors import TurnlogError, with_code
from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import ApprovalAnswer, ExecApproval, PatchApproval

_SESSIONS = 10_000
_MOMENT = 13  # characters of a question's id are its millisecond; in it, calls keep their order


async def questions(log: EventLog, warn: Callable[[str], None]) -> list[Question]:
    """Return the open questions of every session, also of sub-agents; the oldest first.

    Args:
        warn: hears of a session that cannot be read. It hides no question of the others'.
    """
    found: list[Question] = []
    for summary in await log.sessions(limit=_SESSIONS):
        if summary.status != "running":
            continue
        try:
            asked = list(open_questions(await folded(log, summary.session)))
            left = await _left(log, summary.session) if asked else {}
        except TurnlogError as error:
            warn(with_code(f"session {summary.session} is left out: {error}", error.code))
            continue
        found += [replace(question, answer=left.get(question.id)) for question in asked]
    return sorted(found, key=lambda question: question.id[:_MOMENT])


async def _left(log: EventLog, session: SessionId) -> dict[str, ApprovalAnswer]:
    """Return the answers that wait for whoever runs the session next: the first to each counts."""
    left: dict[str, ApprovalAnswer] = {}
    for submission in await log.inbox(session):
        if isinstance(op := submission.op, ExecApproval | PatchApproval):
            left.setdefault(op.id, op.decision)
    return left


@click.command("approvals")
@json_option("Print one JSON object a line.")
def command(as_json: bool) -> None:
    """List the questions that wait for an answer, the oldest first. `turnlog approve ID` answers.

    Those of sub-agents are among them, and those of sessions that nobody runs: a question
    survives the process that asked it.
    """
    found = trio.run(_found) if has_store() else []
    for question in found:
        if as_json:
            print_json(question)
        else:
            _show(question)
    if not found and not as_json:
        click.echo("No question is open.", err=True)


async def _found() -> list[Question]:
    async with reading() as log:
        return await questions(log, warn=lambda text: click.echo(f"Warning: {text}", err=True))


def _show(question: Question) -> None:
    click.echo(question_text(question))
    of = f", an agent of {question.spawned_by}" if question.spawned_by is not None else ""
    secho(f"  session {question.session}{of}", dim=True)
    if question.answer is not None:
        state = f"answered ({question.answer}): taken once the session is resumed"
        secho(f"  {state}", fg="yellow")
    elif question.parked:
        secho("  parked: resume the session once it is answered", fg="yellow")
