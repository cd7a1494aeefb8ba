"""`turnlog simulate`: run a session again, with its model or its tools as they were recorded."""

import os
from typing import TYPE_CHECKING, Final, Literal

import click

from turnlog.frontends.cli.commands.rerun import (
    show_report,
    tolerance_options,
    tolerances_of,
)
from turnlog.frontends.cli.errors import DIFFERENT, DONE
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.warning import tell_warning
from turnlog.frontends.cli.session_argument import SESSION
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.address import find_stored
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.frontends.sessions.store import working_folder

if TYPE_CHECKING:
    from turnlog.replay.rerun.rerun import RerunReport

_HELP: Final = """\
Run session ID again, with recorded ports for live ones, and compare.

Everything that its user did comes again in its place. With both ports recorded, nothing is
reached, and the conversation must be the same. With --tools live, its commands do run, in the
folder of the session; with --model live, the model is asked.

Each turn runs under its recorded settings: -c, -p and -C say how a live model is reached, no more.

What the recording does not hold is an error, never a live call: the nearest recorded request is
shown, and where it differs.

\b
Exit codes:
    0  every turn has the same calls, outputs, answer and end
    4  something differs, or is not in the recording
    1  an error
"""
_SOURCES: Final = click.Choice(["recorded", "live"])


@click.command("simulate", help=_HELP)
@click.argument("session", metavar="ID", type=SESSION)
@click.option(
    "--at",
    type=int,
    metavar="SEQ",
    help="Begin with the turn of this event. Default: with the first one.",
)
@click.option(
    "--model",
    type=_SOURCES,
    default="recorded",
    help="Whether the model is asked, or answers as recorded.",
)
@click.option(
    "--tools", type=_SOURCES, default="recorded", help="Whether tools run, or answer as recorded."
)
@click.option("--keep", is_flag=True, help="Keep the branch as a session.")
@settings_options
@tolerance_options
@json_option("Print the report as one JSON object.")
def command(
    session: str,
    at: int | None,
    model: Literal["recorded", "live"],
    tools: Literal["recorded", "live"],
    keep: bool,
    chosen: ChosenSettings,
    tolerate: str | None,
    replacements: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    import trio

    from turnlog.replay.rerun.rerun import simulate

    original = trio.run(find_stored, session)
    tolerances = tolerances_of(tolerate, replacements)
    config = None  # that of the session's folder
    if chosen != ChosenSettings():
        config = chosen.load(working_folder(chosen.folder), os.environ)

    async def run() -> "RerunReport":
        return await simulate(
            original,
            config=config,
            at=at,
            model=model,
            tools=tools,
            keep=keep,
            tolerances=tolerances,
            warn=tell_warning,
        )

    report = trio.run(run)
    show_report(report, as_json=as_json)
    return DONE if report.same else DIFFERENT
