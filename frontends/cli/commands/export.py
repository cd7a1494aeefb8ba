"""`turnlog export`: a session as a file, for turnlog, for Codex or for people."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import click
import trio

from turnlog.actors.stored_state.pages import read_whole
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.sessions.address import find_session
from turnlog.frontends.sessions.store import reading
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.ids import SessionId
from turnlog.runtime.private_files import write_private

Format = Literal["turnlog", "codex", "markdown", "html"]
_ENDINGS: Final[dict[Format, str]] = {
    "turnlog": ".turnlog",
    "codex": ".jsonl",
    "markdown": ".md",
    "html": ".html",
}
_CODEX_SESSIONS: Final = "sessions"  # the folder of Codex's, which has one for each day below


class Pattern(click.ParamType[re.Pattern[str]]):
    """A regular expression."""

    name = "pattern"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> re.Pattern[str]:
        if not value:
            self.fail("an empty one would take nothing out.", param, ctx)
        try:
            return re.compile(str(value))
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}.", param, ctx)


@click.command("export")
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="The file to write; in a folder, a file of the usual name. Default: stdout, as with -.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="turnlog",
    help="What to write: turnlog (every event; `import` reads it), codex (a rollout), "
    "markdown or html (a transcript).",
)
@click.option(
    "--redact",
    "patterns",
    type=Pattern(),
    multiple=True,
    metavar="PATTERN",
    help="Take out what this regular expression matches. May be repeated. Default: nothing.",
)
def command(
    session: str, output: Path | None, form: Format, patterns: Sequence[re.Pattern[str]]
) -> None:
    r"""Write session ID, a fork with all that it has of its parents.

    \b
    turnlog   one event a line; `turnlog import`, `replay` and `check` read it
    codex     a rollout that `codex resume` continues; -o ~/.codex/sessions puts it there
    markdown  a transcript
    html      a transcript on one page that loads nothing
    """
    whole, records = trio.run(_read, session)
    data = render(whole, records, form, patterns)
    if output is None or str(output) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = _place(output, whole, records, form)
    _write(path, data)
    click.echo(f"Wrote {path}.", err=True)


async def _read(prefix: str) -> tuple[SessionId, list[Recorded]]:
    async with reading(prefix) as log:
        session = await find_session(log, prefix)
        return session, await read_whole(log, session)


def render(
    session: SessionId,
    records: Sequence[Recorded],
    form: Format,
    patterns: Sequence[re.Pattern[str]] = (),
) -> bytes:
    """Return a session in one of the forms, as UTF-8."""
    if patterns:
        from turnlog.replay.files.redact import redact

        records = list(redact(records, patterns))
    match form:
        case "turnlog":
            import io

            from turnlog.replay.files.portable import write_portable

            text = io.StringIO()
            write_portable(records, text, session=session, redacted=bool(patterns))
            return text.getvalue().encode()
        case "codex":
            from turnlog.replay.rollouts.exporting import export_codex

            return b"".join(export_codex(records))
        case "markdown":
            from turnlog.replay.transcript.markdown import markdown

            return markdown(records).encode(errors="replace")
        case "html":
            from turnlog.replay.transcript.html import html

            return html(records).encode(errors="replace")


def _place(output: Path, session: SessionId, records: Sequence[Recorded], form: Format) -> Path:
    """Return the file to write: `output`, or the one of the usual name in that folder."""
    if not output.is_dir():
        return output
    if form != "codex":
        return output / f"{session}{_ENDINGS[form]}"
    from turnlog.replay.rollouts.exporting import dated_folder, rollout_name

    folder = output
    if output.absolute().name == _CODEX_SESSIONS:
        folder = output / dated_folder(records)
    return folder / rollout_name(records)


def _write(path: Path, data: bytes) -> None:
    try:
        write_private(path, data)
    except OSError as error:
        raise UsageError(
            ErrorCode.OUTPUT_UNWRITABLE, f"{path} cannot be written: {error.strerror}."
        ) from None
