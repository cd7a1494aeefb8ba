"""`turnlog check`: a folder of exported sessions against today's code, for CI."""

from pathlib import Path

import click

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.verdict_text import (
    progress,
    show_each,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.replay.verify.files import check_files, portable_files


@click.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--accept", is_flag=True, help="Record today's decisions in the files that differ.")
@json_option("Print JSON lines: one for each session, then a summary.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes share the work. Default: one for each processor, if there "
    "is enough work.",
)
def command(folder: Path, accept: bool, as_json: bool, jobs: int | None) -> int:
    """Replay every exported session below DIR, and compare its decisions with today's.

    With --accept the files are written again with today's decisions, as a change to be reviewed
    in a diff; a file whose recorded facts do not fit them is left alone. A store is never changed.

    The exit code is 0 if all decide as they did or were accepted, 4 for a difference or damage,
    and 1 for an error.
    """
    return _check(folder, accept, as_json, jobs)


def _check(folder: Path, accept: bool, as_json: bool, jobs: int | None) -> int:
    paths = portable_files(folder)
    if not paths:  # a check that looks at nothing must not pass
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"there is no exported session below {folder}. `turnlog export ID -o "
            f"{folder}/NAME.turnlog` puts one there.",
        )
    with progress("check") as advance:
        return show_each(
            check_files(paths, accept=accept, jobs=jobs),
            as_json=as_json,
            shown=lambda printed: advance(len(printed), len(paths)),
        )
