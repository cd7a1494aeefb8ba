"""`turnlog import`: sessions from files, of turnlog's own form or rollouts of Codex."""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
import trio
from msgspec import Struct

from turnlog.actors.ports import EventLog
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.sessions.store import store_path
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.codex_rollout import MAX_FILE
from turnlog.protocol.errors import NotFound, StoreTooNew, UsageError, with_code
from turnlog.protocol.ids import SessionId
from turnlog.replay.files.portable import is_portable, read_portable
from turnlog.replay.rollouts.importing import ImportReport, import_rollout
from turnlog.replay.rollouts.parents import finder, whole
from turnlog.replay.rollouts.reading import RolloutFile, parse_rollout
from turnlog.replay.views.text import counted
from turnlog.runtime.engine.new_id import new_id
from turnlog.runtime.input_file import read_input

_SHOWN = 10  # lines of a report that are listed one by one


class Imported(Struct, frozen=True):
    """One line of `--json`: a file that was imported."""

    session: SessionId
    file: str
    format: str  # turnlog, paginated or legacy
    report: ImportReport | None = None  # of a rollout


class NotImported(Struct, frozen=True):
    """One line of `--json`: a file that was not."""

    file: str
    error: ErrorInfo


@click.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option("--new-id", is_flag=True, help="Give each session a new id.")
@json_option("Print one object for each file, with the report.")
def command(files: tuple[Path, ...], new_id: bool, as_json: bool) -> int:
    """Import sessions, and print the id of each; what was made of them goes to stderr.

    A FILE is what `turnlog export` has written, or a rollout of Codex, of any release. A rollout
    keeps its id. A fork's parent is looked for among the FILEs, beside the fork, and in Codex's
    folders. What cannot be read of a rollout is left out, and reported.
    """
    failed: list[NotImported] = []

    def done(outcome: Imported | NotImported) -> None:
        if as_json:
            print_json(outcome)
        if isinstance(outcome, NotImported):
            failed.append(outcome)
            place = "" if outcome.file in outcome.error.message else f"{outcome.file}: "
            said = with_code(f"Error: {place}{outcome.error.message}", outcome.error.code)
            click.echo(said, err=True)
        elif not as_json:
            click.echo(outcome.session)
            _tell(outcome)

    trio.run(_import, files, new_id, done)
    return 1 if failed else 0


async def _import(
    files: Sequence[Path],
    fresh_id: bool,
    done: Callable[[Imported | NotImported], None],
) -> None:
    from turnlog.runtime.store.lmdb.log import open_log

    given = _rollouts(files)
    async with open_log(store_path()) as log:
        for path in files:
            try:
                data = read_input(path, limit=MAX_FILE)
                if is_portable(data.partition(b"\n")[0]):
                    done(await _import_portable(log, path, data, fresh_id=fresh_id))
                else:
                    done(await _import_rollout(log, path, data, given, fresh_id=fresh_id))
            except (UsageError, NotFound, StoreTooNew) as error:  # the next file may be better
                done(NotImported(str(path), ErrorInfo(error.code, str(error))))


def _rollouts(files: Sequence[Path]) -> dict[str, RolloutFile]:
    """Return the rollouts among `files` by their ids: each may be the parent of another."""
    found: dict[str, RolloutFile] = {}
    if len(files) < 2:
        return found
    for path in files:
        try:
            data = read_input(path, limit=MAX_FILE)
            rollout = (
                None if is_portable(data.partition(b"\n")[0]) else parse_rollout(data, str(path))
            )
        except UsageError:
            continue  # it is told when its turn comes
        if rollout is not None and rollout.session is not None:
            found[rollout.session] = rollout
    return found


async def _import_portable(log: EventLog, path: Path, data: bytes, *, fresh_id: bool) -> Imported:
    from turnlog.replay.files.loading import load_portable

    reader = read_portable(io.BytesIO(data), name=str(path))
    session = await load_portable(log, reader, new_id=SessionId(new_id()) if fresh_id else None)
    return Imported(session, str(path), "turnlog")


async def _import_rollout(
    log: EventLog,
    path: Path,
    data: bytes,
    given: dict[str, RolloutFile],
    *,
    fresh_id: bool,
) -> Imported:
    from turnlog.replay.rollouts.storing import store_import

    file = parse_rollout(data, str(path))
    joined = whole(file, finder(given, path))
    session = SessionId(new_id()) if fresh_id or file.session is None else None
    found = import_rollout(joined, session=session)
    await store_import(log, found)
    return Imported(found.newest.session, str(path), found.report.format, found.report)


def _tell(imported: Imported) -> None:
    report = imported.report
    if report is None:
        click.echo(f"{imported.file}: imported", err=True)
        return
    click.echo(
        f"{report.file}: {report.format} rollout, {counted(report.lines, 'line')}: "
        f"{counted(report.turns, 'turn')}, {counted(report.items, 'item')}, "
        f"{counted(report.usage.total_tokens, 'token')}; {counted(report.events, 'event')} here",
        err=True,
    )
    if report.earlier:
        click.echo(
            "  It was compacted. What the model saw before that is kept in sessions of its own: "
            + ", ".join(report.earlier),
            err=True,
        )
    lines = _by_text((one.line, f"left out: {one.reason}") for one in report.skipped)
    lines += _by_text((one.line, one.text) for one in report.notes)
    for line in lines[:_SHOWN]:
        click.echo(f"  {line}", err=True)
    if len(lines) > _SHOWN:
        click.echo(f"  and {len(lines) - _SHOWN} more; --json has them all", err=True)


def _by_text(found: Iterable[tuple[int, str]]) -> list[str]:
    """Return what is said of lines, each text once with the numbers of its lines."""
    numbers: dict[str, list[int]] = {}
    for line, text in found:
        numbers.setdefault(text, []).append(line)
    return [
        f"line{'s' * (len(at) > 1)} {', '.join(map(str, at[:_SHOWN]))}"
        f"{', …' * (len(at) > _SHOWN)}: {text}"
        if any(at)
        else text
        for text, at in numbers.items()
    ]
