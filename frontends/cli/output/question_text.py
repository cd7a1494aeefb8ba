"""What a person at a terminal reads of a question."""

from typing import Final

from turnlog.actors.ports import EventLog
from turnlog.frontends.cli.output.terminal import style
from turnlog.frontends.sessions.questions import Question, find_question
from turnlog.protocol.ids import SessionId
from turnlog.replay.views.text import printable

_WANTS: Final = {
    (False, False): "may {tool} do this?",
    (True, False): "may {tool} do this outside of the sandbox?",
    (False, True): "its sandbox seems to have stopped {tool}; again, without one?",
    (True, True): "its sandbox seems to have stopped {tool}; again, without one?",
}


def question_text(question: Question) -> str:
    """Return what is asked, for a terminal: what it is about is shown whole."""
    wants = _WANTS[question.outside, question.denied].format(tool=printable(question.tool))
    lines = [f"{style(question.id, bold=True)}  {wants}"]
    lines += [f"    {line}" for line in printable(question.what).split("\n")]
    if question.cwd is not None:
        lines.append(style(f"  in {printable(question.cwd)}", dim=True))
    lines += [f"  changed since it was allowed: {printable(path)}" for path in question.changed]
    if question.reason:
        reason = " ".join(printable(question.reason).split())
        lines.append(f"  the model says: {reason}")
    return "\n".join(lines)


async def question_note(log: EventLog, session: SessionId, wanted: str) -> str | None:
    """Return what a person is told who watches the session; None if it is answered already."""
    question = await find_question(log, session, wanted)
    if question is None:
        return None
    of = f" (of agent {session})" if question.spawned_by is not None else ""
    return (
        f"Question{of} {question_text(question)}\n"
        f"Answer from another terminal: turnlog approve {question.id}  (or --decline)"
    )
