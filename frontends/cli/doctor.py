"""`turnlog doctor`: what is wrong with the store, and what can be put right."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from turnlog.frontends.cli.failing import FAILED
from turnlog.frontends.cli.places import has_store, reading, store_path
from turnlog.runtime.store.doctor import ADVICE, Report, examine_path, repair
from turnlog.runtime.store.lmdb_log import open_log


@click.command("doctor")
@click.option("--repair", "repairing", is_flag=True, help="Put right what can be; see below.")
@click.option(
    "--backup",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="First copy the store into DIR, a new folder; the store may be in use.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(repairing: bool, backup: Path | None, as_json: bool) -> int | None:
    """Check every page, event, index and stored text, and say what is wrong. Changes nothing.

    With --repair, damaged sessions are put in quarantine (they can be read and forked, not
    continued), indexes are built anew, and what no event refers to is removed. No event of a
    session is ever removed.

    The exit code is 0 for a sound store, and 1 if there was damage.
    """
    if not has_store():
        click.echo(f"There is no store in {store_path()}, so there is nothing to check.", err=True)
        return None
    if backup is not None:
        trio.run(_back_up, backup)
        click.echo(f"The store was copied to {backup}.", err=True)
    report = examine_path(store_path())
    if repairing and not any(finding.kind == "file" for finding in report.findings):
        report = trio.run(_repair)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(_object(report, repairing)) + b"\n")
    else:
        click.echo(f"{store_path()}\n{report.explain()}")
        if repairing:
            click.echo("What can be repaired has been.")
    return None if report.is_healthy else FAILED


async def _back_up(folder: Path) -> None:
    async with reading() as log:
        await log.backup(folder)


async def _repair() -> Report:
    async with open_log(store_path()) as log:
        return await repair(log)


def _object(report: Report, repaired: bool) -> dict[str, Any]:
    return {
        "store": str(store_path()),
        "sessions": report.sessions,
        "events": report.events,
        "unused_blobs": report.unused_blobs,
        "unused_bytes": report.unused_bytes,
        "repaired": repaired,
        "findings": [
            {
                "kind": finding.kind,
                "session": finding.session,
                "sequence": finding.sequence,
                "what": finding.what,
                "advice": ADVICE[finding.kind],
            }
            for finding in report.findings
        ],
    }
