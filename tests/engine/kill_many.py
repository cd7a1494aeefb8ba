"""`python -m tests.engine.kill_many [COUNT] [SEED]`: kill a session COUNT times, and sum up.

Exits with 1 if a promise was broken; the seed that it prints for each failure goes to
`kill_once` again. COUNT is 200 by default; two at a time.
"""

import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

import trio

from tests.engine.killing import Report, kill_once

AT_ONCE = 2


async def main(count: int, seed: int) -> int:
    """Kill `count` times; return how many failed."""
    begun = time.monotonic()
    reports: list[Report] = []
    failed: list[int] = []
    slots = trio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            with tempfile.TemporaryDirectory() as place:
                try:
                    reports.append(await kill_once(Path(place, "kill"), Random(seed + number)))
                except Exception:
                    failed.append(seed + number)
                    print(f"seed {seed + number}:", flush=True)
                    traceback.print_exc()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    print(f"{count} kills in {time.monotonic() - begun:.0f} s, seeds from {seed}: ", end="")
    print(f"{len(failed)} broke a promise {failed or ''}")
    print(f"  sessions that had ended before the kill: {sum(r.finished for r in reports)}")
    print(f"  published events that were there again: {sum(r.published for r in reports)}")
    outcomes = Counter(outcome for report in reports for outcome in report.outcomes)
    print(f"  calls that were running: {dict(outcomes)}")
    print("  killed after:")
    for kind, times in Counter(report.last or "(nothing)" for report in reports).most_common():
        print(f"    {times:4} {kind}")
    return len(failed)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    chosen = arguments[1] if len(arguments) > 1 else time.time_ns() % 1_000_000
    sys.exit(bool(trio.run(main, arguments[0] if arguments else 200, chosen)))
