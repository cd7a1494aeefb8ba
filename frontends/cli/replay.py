"""`turnlog replay`: does today's code decide as the recorded sessions did?"""

import sys
from pathlib import Path
from typing import Final

import click
import trio

from turnlog.frontends.cli.places import has_store, reading, store_path
from turnlog.frontends.cli.verdicts import (
    exit_code,
    leaving,
    print_json,
    progress,
    totals_lines,
    totals_object,
    verdict_line,
    verdict_object,
    whole_verdict,
)
from turnlog.protocol.ids import SessionId
from turnlog.replay.check import SUFFIX, replay_file
from turnlog.replay.offline import replay_store, replay_stored
from turnlog.replay.report import ReplayReport
from turnlog.replay.verdict import Verdict, total, verdict_of

_EVERY_SESSION: Final = sys.maxsize


@click.command("replay")
@click.argument("what", metavar="[ID | FILE]", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Every session of the store.")
@click.option(
    "--from",
    "start",
    type=click.IntRange(min=1),
    metavar="SEQ",
    help="Report differences from this event on only.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines: one a session, then a summary.")
def command(what: str | None, all_of_them: bool, start: int | None, as_json: bool) -> int:
    """Feed the recorded facts of a session to today's code, and compare each decision.

    ID is a session of the store, FILE one that `turnlog export` wrote. No model, process or
    network is reached, and nothing is changed.

    The exit code is 0 for no difference, 1 for a difference or damage, and 2 for an error.
    """
    if (what is None) != all_of_them:
        raise click.UsageError("Give an ID or a FILE, or --all.")
    if all_of_them and start is not None:
        raise click.UsageError("--from is for one session.")
    if what is None:
        return leaving(lambda: _replay_all(as_json))
    return leaving(lambda: _replay_one(what, start or 1, as_json))


def _replay_one(what: str, start: int, as_json: bool) -> int:
    path = Path(what)
    if path.is_file() or path.suffix == SUFFIX or path.name != what:
        report = replay_file(path, start=start)
        name = what
    else:
        report = trio.run(_replay_stored, what, start)
        name = report.session
    verdict = verdict_of(name, report)
    if as_json:
        print_json(verdict_object(verdict))
        print_json(totals_object(total([verdict])))
    else:
        click.echo(whole_verdict(verdict))
    return exit_code([verdict])


async def _replay_stored(prefix: str, start: int) -> ReplayReport:
    async with reading(prefix) as log:
        session = await log.resolve(prefix)
        with progress("replay") as advance:
            return await replay_stored(log, session, start=start, seen=advance)


def _replay_all(as_json: bool) -> int:
    sessions = trio.run(_sessions)
    every = sum(events for _, events in sessions)
    verdicts: list[Verdict] = []
    with progress("replay") as advance:
        for verdict in replay_store(store_path(), sessions):
            verdicts.append(verdict)
            advance(sum(verdict.events for verdict in verdicts), every)
            if as_json:
                print_json(verdict_object(verdict))
            else:
                click.echo(verdict_line(verdict))
    totals = total(verdicts)
    if as_json:
        print_json(totals_object(totals))
    else:
        click.echo(totals_lines(totals))
    return exit_code(verdicts)


async def _sessions() -> list[tuple[SessionId, int]]:
    """Return the store's sessions, the newest first, each with the number of its events."""
    if not has_store():
        return []
    async with reading() as log:
        summaries = await log.sessions(limit=_EVERY_SESSION)
        heads = [await log.head(summary.session) for summary in summaries]
    return [
        (summary.session, head.sequence) for summary, head in zip(summaries, heads, strict=True)
    ]
