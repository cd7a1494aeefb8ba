"""`turnlog doctor`: what is wrong with the store and the sandboxes, and what can be repaired."""

from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from turnlog.frontends.cli.errors import DIFFERENT
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.sessions.sandboxes import SandboxReport, examine_sandboxes
from turnlog.frontends.sessions.store import has_store, reading, store_path, working_folder
from turnlog.runtime.store.lmdb.doctor import ADVICE, Report, examine_path, repair
from turnlog.runtime.store.lmdb.log import open_log
from turnlog.runtime.store.lmdb.moving import move_sound


@click.command("doctor")
@click.option("--repair", "repairing", is_flag=True, help="Repair what can be repaired.")
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="First copy the store into DIR, a new folder. The store may be in use. Default: no copy.",
)
@json_option("Print one JSON object.")
def command(repairing: bool, backup: Path | None, as_json: bool) -> int | None:
    """Check every page, event, index and stored text, and each sandbox. Changes nothing.

    With --repair, damaged sessions are put in quarantine (they can be read and forked, not
    continued), indexes are rebuilt, and what no event refers to is removed. Where pages of the
    file are damaged, what is sound is moved into a new file, and the old one is kept beside it. No
    event of a session is ever removed.

    Of the sandboxes it says which work on this machine, why the others do not, what each does not
    keep, and whether commands could be confined in the current folder.

    The exit code is 0 for a sound store, or none, and 4 if there was damage.
    """
    report = _store_report(repairing, backup)
    sandboxes = examine_sandboxes(working_folder(None))
    if as_json:
        shown = _object(report, repairing) | {"sandbox": msgspec.to_builtins(sandboxes)}
        print_json(shown)
    else:
        _show(report, sandboxes, repaired=repairing)
    return DIFFERENT if report is not None and not report.is_healthy else None


def _store_report(repairing: bool, backup: Path | None) -> Report | None:
    """Return what is to be said of the store, once it is repaired; None: there is none."""
    if not has_store():
        return None
    if backup is not None:
        trio.run(_back_up, backup)
        click.echo(f"The store was copied to {backup}.", err=True)
    report = examine_path(store_path())
    if not repairing or not report.is_within_reach:
        return report
    if all(finding.kind != "file" for finding in report.findings):
        return trio.run(_repair)
    moved = trio.run(move_sound, store_path())
    click.echo(f"What is sound was moved into a new file. The old one is {moved.kept}.", err=True)
    return report


def _show(report: Report | None, sandboxes: SandboxReport, *, repaired: bool) -> None:
    if report is None:
        click.echo(f"There is no store in {store_path()}, so there is nothing to check.", err=True)
    else:
        click.echo(f"{store_path()}\n{report.explain()}")
        if repaired and report.is_within_reach:
            click.echo("What can be repaired has been.")
    for line in sandboxes.lines:
        click.echo(line)


async def _back_up(folder: Path) -> None:
    async with reading() as log:
        await log.backup(folder)


async def _repair() -> Report:
    async with open_log(store_path()) as log:
        return await repair(log)


def _object(report: Report | None, repaired: bool) -> dict[str, Any]:
    if report is None:
        return {"store": None, "findings": []}
    return {
        "store": str(store_path()),
        "sessions": report.sessions,
        "events": report.events,
        "writable": report.is_writable,
        "unused_blobs": report.unused_blobs,
        "unused_bytes": report.unused_bytes,
        "repaired": repaired,
        "findings": [
            {
                "kind": finding.kind,
                "session": finding.session,
                "sequence": finding.sequence,
                "last": finding.last or finding.sequence,
                "what": finding.what,
                "advice": ADVICE[finding.kind],
            }
            for finding in report.findings
        ],
    }
