"""`turnlog rerun`: branch from a session, and give it the same inputs once more, live."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import click
import msgspec

from turnlog.frontends.cli.errors import DIFFERENT, DONE
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.terminal import secho
from turnlog.frontends.cli.output.warning import tell_warning
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.address import find_stored
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.frontends.sessions.store import working_folder
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Failed, UsageError
from turnlog.protocol.settings import ApprovalPolicy, SandboxMode
from turnlog.replay.views.text import counted, one_line

if TYPE_CHECKING:
    from turnlog.replay.rerun.comparison import TurnComparison
    from turnlog.replay.rerun.rerun import RerunReport
    from turnlog.replay.rerun.tolerances import Tolerances

_MAX_INSTRUCTIONS: Final = 1 << 20  # bytes
_WIDTH: Final = 72
_Command = Callable[..., int]

_HELP: Final = """\
Branch from session ID and give it the inputs that followed, once more and live.

Each input is a turn of its own. Then each turn is compared with the original's: its calls, their
outputs, its answer and how it ended. The branch is an ordinary session; ID is not touched.

A question gets the answer that an equal one got; another one is declined.

With --record, one port answers from the recording all the same, and what that does not hold is an
error, never a live call.

\b
Exit codes:
    0  the branch ran; it may differ
    1  a turn of the branch failed; or an error
    4  a recorded port was asked for what it does not hold
"""


def tolerance_options(command: _Command) -> _Command:
    """Add --tolerate and --replace."""
    command = click.option(
        "--replace",
        "replacements",
        nargs=2,
        multiple=True,
        metavar="PATTERN TEXT",
        help="Compare requests with TEXT in the place of all that the regular expression "
        "PATTERN matches. May be repeated. Default: nothing.",
    )(command)
    return click.option(
        "--tolerate",
        metavar="NAMES",
        help="What may differ in a recorded request, with commas between: dates, paths, ids,"
        " measurements, outputs, reasoning, context. Default: nothing; with live tools,"
        " how long they took.",
    )(command)


@click.command("rerun", help=_HELP)
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--at",
    type=int,
    metavar="SEQ",
    help="Branch after this event. Default: before the first input.",
)
@click.option("-m", "--model", metavar="NAME", help="Another model. Default: the original's.")
@click.option(
    "--prompt",
    "text",
    metavar="TEXT",
    help="A prompt in the place of the first input. Default: the original's.",
)
@click.option(
    "--base-instructions",
    "instructions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with other base instructions. Default: the original's.",
)
@settings_options
@click.option(
    "-a",
    "--ask-for-approval",
    "--approval-policy",
    "approval_policy",
    type=click.Choice(get_args(ApprovalPolicy)),
    help="Another approval policy. Default: the original's.",
)
@click.option(
    "-s",
    "--sandbox",
    type=click.Choice(get_args(SandboxMode)),
    help="Another sandbox for commands. Default: the original's.",
)
@click.option(
    "--record",
    type=click.Choice(["model", "tools", "none"]),
    default="none",
    help="Which port answers from the recording.",
)
@tolerance_options
@json_option("Print the report as one JSON object.")
def command(
    session: str,
    at: int | None,
    model: str | None,
    text: str | None,
    instructions: Path | None,
    chosen: ChosenSettings,
    approval_policy: ApprovalPolicy | None,
    sandbox: SandboxMode | None,
    record: Literal["model", "tools", "none"],
    tolerate: str | None,
    replacements: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    import trio

    from turnlog.replay.rerun.rerun import rerun

    original = trio.run(find_stored, session)
    options: dict[str, Any] = {
        key: value
        for key, value in (
            ("model", model),
            ("approval_policy", approval_policy),
            ("sandbox_mode", sandbox),
            ("base_instructions", None if instructions is None else _read(instructions)),
        )
        if value is not None
    }
    folder = working_folder(chosen.folder)
    config = chosen.load(folder, os.environ, options)
    tolerances = tolerances_of(tolerate, replacements)

    async def run() -> "RerunReport":
        return await rerun(
            original,
            config=config,
            at=at,
            text=text,
            changes=chosen.named(config, folder),
            record=record,
            tolerances=tolerances,
            warn=tell_warning,
        )

    report = trio.run(run)
    show_report(report, as_json=as_json)
    if report.misses:
        return DIFFERENT
    _require_completed(report)
    return DONE


def _require_completed(report: "RerunReport") -> None:
    """Leave as `exec` does if a turn of the branch failed.

    Raises:
        Failed: with the code of the first such turn.
    """
    for turn in report.turns:
        if (branch := turn.branch) is not None and branch.error is not None:
            raise Failed(branch.error.code, f"turn {branch.turn} failed: {branch.error.message}")


def tolerances_of(
    names: str | None, replacements: tuple[tuple[str, str], ...]
) -> "Tolerances | None":
    """Return what the options allow to differ; None: nothing is said about it.

    Raises:
        click.UsageError: there is no such name, or a pattern is not a regular expression.
    """
    from turnlog.replay.rerun.tolerances import Tolerances

    if names is None and not replacements:
        return None
    chosen = [name.strip() for name in (names or "").split(",")]
    try:
        return Tolerances([name for name in chosen if name], replacements)
    except UsageError as error:
        raise click.UsageError(str(error)) from None


def show_report(report: "RerunReport", *, as_json: bool) -> None:
    """Print what a branch made of the original's inputs."""
    if as_json:
        fields = msgspec.to_builtins(report) | {"same": report.same}
        for turn, shown in zip(report.turns, fields["turns"], strict=True):
            shown["same"] = turn.same
        print_json(fields)
        return
    kept = f"branch {report.branch}" if report.kept else "a branch that was not kept"
    click.echo(f"Session {report.session} from event {report.cut} on, and {kept}:")
    for turn in report.turns:
        _show_turn(turn)
    for miss in report.misses:
        secho("Not in the recording: ", fg="red", nl=False)
        click.echo(miss.text)
    if report.misses:
        click.echo("Allow what does not matter with --tolerate or --replace.")
    for question in report.declined:
        click.echo(f"Question {question} was declined: no answer to it is recorded.")
    if report.same_conversation:
        click.echo("The conversation is the same, byte for byte.")


def _show_turn(turn: "TurnComparison") -> None:
    known = turn.original or turn.branch
    assert known is not None  # one of them has it
    mark, colour = ("same", "green") if turn.same else ("differs", "yellow")
    click.echo(f"turn {known.turn} ", nl=False)
    secho(f"{mark:8}", fg=colour, nl=False)
    click.echo(one_line(known.prompt, _WIDTH))
    for name, side in (("original", turn.original), ("branch", turn.branch)):
        if side is not None:
            usage = side.usage
            click.echo(
                f"    {name:9} {side.status}, {counted(side.requests, 'request')}, "
                f"{counted(len(side.calls), 'call')}, "
                f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
            )
    if turn.original and turn.branch and turn.branch.prompt != turn.original.prompt:
        click.echo(f"    {'':9} asked: {one_line(turn.branch.prompt, _WIDTH)}")
    for difference in turn.differences:
        place = "" if difference.call is None else f" ({difference.call + 1})"
        click.echo(f"    {difference.what}{place}:")
        click.echo(f"      original: {one_line(difference.original, 2 * _WIDTH)}")
        click.echo(f"      branch:   {one_line(difference.branch, 2 * _WIDTH)}")


def _read(path: Path) -> str:
    from turnlog.runtime.config.files import read_regular

    try:
        return read_regular(path, _MAX_INSTRUCTIONS).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"the instructions {path} cannot be read: {why}."
        ) from None
