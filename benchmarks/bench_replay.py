"""Replay: the cores over recorded facts, from memory and from portable files; many files at once.

Bare decode is msgspec's on the same bytes, envelope and event, without a store, a chain or a
fold; texts above 4 KiB are at hand.
"""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench_read import bare_decode
from measure import Bench, Claim, Rounds, main, show_time, timed
from workload import Work

from turnlog.actors.ports import Batch
from turnlog.protocol.envelope import Recorded, unseal
from turnlog.replay.files.portable import write_portable
from turnlog.replay.verify.files import check_files, replay_file
from turnlog.replay.verify.verifier import divergences

EVENTS = 50_000
ROUNDS = 3
SESSIONS = 1000
SESSION_EVENTS = 70

REPLAY = Claim("replay of 50k events against bare decode", 12, "x")
FILE = Claim("replay of a file of 50k events against bare decode", 30, "x")
CHECK = Claim("check of 1,000 files against bare decode", 40, "x")
RATE = Claim("events replayed in a second", 20_000, "/s", at_least=True)
CLAIMS = (REPLAY, FILE, CHECK, RATE)


def recorded(batches: Sequence[Batch]) -> list[Recorded]:
    return [
        unseal(record.data, record.digest, record.blobs.__getitem__)
        for batch in batches
        for record in batch.records
    ]


def write(path: Path, records: Sequence[Recorded]) -> None:
    stream = io.StringIO()
    write_portable(records, stream)
    path.write_text(stream.getvalue())


def replay(records: Sequence[Recorded]) -> None:
    assert not list(divergences(records))


def replay_whole_file(path: Path) -> None:
    assert replay_file(path).is_exact


def check(paths: Sequence[Path], jobs: int | None = None) -> None:
    assert all(verdict.status == "same" for verdict in check_files(paths, jobs=jobs))


def measure(bench: Bench) -> None:
    batches = list(Work(seed=1).steps(EVENTS))
    records, path = recorded(batches), bench.folder / "long.turnlog"
    write(path, records)
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        rounds.add("bare decode", [timed(partial(bare_decode, batches))])
        rounds.add("replay", [timed(partial(replay, records))])
        rounds.add("file", [timed(partial(replay_whole_file, path))])
    bench.ratio(REPLAY, rounds, "replay", "bare decode")
    bench.ratio(FILE, rounds, "file", "bare decode")
    rate = len(records) / rounds.best("replay")
    decoded = len(records) / rounds.best("bare decode")
    bench.result(RATE, rate, f"bare decode = {decoded:,.0f} /s")
    _many(bench)


def _many(bench: Bench) -> None:
    sessions = [list(Work(seed=seed).steps(SESSION_EVENTS)) for seed in range(SESSIONS)]
    batches = [batch for session in sessions for batch in session]
    paths = [bench.folder / f"{number:04}.turnlog" for number in range(SESSIONS)]
    for path, session in zip(paths, sessions, strict=True):
        write(path, recorded(session))
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        rounds.add("bare decode", [timed(partial(bare_decode, batches))])
        rounds.add("check", [timed(partial(check, paths))])
        rounds.add("alone", [timed(partial(check, paths, 1))])
    bench.ratio(CHECK, rounds, "check", "bare decode")
    together, alone = rounds.best("check"), rounds.best("alone")
    events = sum(len(batch.records) for batch in batches)
    bench.note(
        f"{SESSIONS} sessions of {events / SESSIONS:.0f} events in {show_time(together)}; "
        f"by one process in {show_time(alone)}"
    )


if __name__ == "__main__":
    main("replay", CLAIMS, measure)
