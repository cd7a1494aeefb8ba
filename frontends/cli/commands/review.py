"""`turnlog review`: have a session of its own look at the work."""

import sys
from functools import partial

import click
import trio

from turnlog.actors.core.review import read_output
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.terminal import secho
from turnlog.frontends.cli.output.warning import tell_warning
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed
from turnlog.protocol.events import ChildEnded
from turnlog.protocol.ops import Review

_UNCOMMITTED = "Review what is changed and not committed in this folder (git diff HEAD)."
_FAILURE_PREFIX = "there is no review"


@click.command("review")
@click.argument("session", metavar="ID", type=SESSION)
@click.argument("prompt", default=_UNCOMMITTED)
@json_option("Print the reviewer's answer as it is, a JSON object.")
@settings_options
def command(session: str, prompt: str, as_json: bool, chosen: ChosenSettings) -> None:
    """Review the work of session ID, which gets the findings.

    The reviewer is a session of its own, with its own instructions and the model `review_model`.
    PROMPT says what to review; by default, what is changed and not committed.
    """
    from turnlog.frontends.cli.operate import operate

    work = partial(
        operate,
        session,
        Review(prompt),
        failure_prefix=_FAILURE_PREFIX,
        warn=tell_warning,
        chosen=chosen,
    )
    for recorded in trio.run(work):
        match recorded.event:
            case ChildEnded(output=output, status="completed") if output:
                _show(output, as_json=as_json)
                return
            case _:
                pass
    raise Failed(ErrorCode.NOT_DONE, f"{_FAILURE_PREFIX}: the reviewer said nothing")


def _show(text: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(text + "\n")
        return
    output = read_output(text)
    for finding in output.findings:
        place = finding.code_location
        where = (
            f"  {place.absolute_file_path}:{place.line_range.start}-{place.line_range.end}"
            if place
            else ""
        )
        priority = "" if finding.priority is None else f"[P{finding.priority}] "
        secho(f"{priority}{finding.title}{where}", bold=True)
        click.echo(f"{finding.body}\n")
    click.echo(output.overall_explanation)
    if output.overall_correctness:
        click.echo(output.overall_correctness)
