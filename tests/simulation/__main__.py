"""`python -m tests.simulation SEEDS`: simulate that many seeds, and show what fails, made small.

Exit codes: 0, all kept their promises; 1, one did not; 2, the command line is wrong.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable

from msgspec import Struct, structs

from tests.simulation.running import Outcome, simulate
from tests.simulation.scenario import Scenario, drawn
from tests.simulation.shrinking import Shrinker
from turnlog.protocol.envelope import Recorded
from turnlog.replay.views.event_text import event_text
from turnlog.replay.views.text import one_line

MOST_SHOWN = 30  # events of a session


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", type=int, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--digests", action="store_true", help="print what each seed gave")
    arguments = parser.parse_args()
    began, steps = time.perf_counter(), 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        outcome = simulate(drawn(seed))
        steps += outcome.steps
        if arguments.digests:
            print(seed, outcome.digest)
        if outcome.failure is not None:
            print(report(seed, outcome))
            return 1
    passed = time.perf_counter() - began
    print(
        f"{arguments.seeds} seeds, {steps} steps, nothing broken: "
        f"{arguments.seeds / passed:.0f} seeds/s, {steps / passed:.0f} steps/s"
    )
    return 0


def report(seed: int, outcome: Outcome) -> str:
    """Return what a person needs who looks for the reason."""
    scenario, outcome = least(drawn(seed), outcome)
    lines = [
        f"seed {seed} breaks a promise: {outcome.failure}",
        f"again: python -m tests.simulation 1 --first {seed}",
        "",
        "what is needed for it:",
        *(f"  {line}" for line in told(scenario)),
    ]
    for session, records in outcome.sessions.items():
        lines += ["", f"session {session}, its last events:", *timeline(records[-MOST_SHOWN:])]
    return "\n".join(lines)


def least(scenario: Scenario, outcome: Outcome) -> tuple[Scenario, Outcome]:
    """Return the smallest scenario that was found to fail for the same reason, and its outcome."""
    wanted = _kind(outcome.failure)
    small = Shrinker(scenario, lambda other: _kind(simulate(other).failure) == wanted).shrink()
    return small, simulate(small)


def _kind(failure: str | None) -> str | None:
    """Return a failure without what differs from run to run: ids and numbers."""
    return failure if failure is None else re.sub(r"[0-9a-f]{8}[-0-9a-f]*|\d+", "#", failure)


def told(scenario: Scenario) -> Iterable[str]:
    """Yield a scenario as Python that builds it again: a named seed is made of it."""
    yield f"Scenario({scenario.seed}, {plain(scenario.around)},"
    for name in ("responses", "answers", "acts", "summaries"):
        yield f"  {name}=("
        yield from (f"    {plain(part)}," for part in getattr(scenario, name))
        yield "  ),"
    yield ")"


def plain(value: object) -> str:
    """Return a value as Python, without the fields that have their defaults."""
    if isinstance(value, tuple):
        inner = ", ".join(map(plain, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return f"({inner},)" if inner else "()"
    if not isinstance(value, Struct):
        return repr(value)
    fields = [
        f"{field.name}={plain(given)}"
        for field in structs.fields(type(value))
        if (given := getattr(value, field.name)) != field.default
    ]
    return f"{type(value).__name__}({', '.join(fields)})"


def timeline(records: Iterable[Recorded]) -> list[str]:
    """Return events as `turnlog show` has them, but for the time."""
    marks = {"fact": "●", "decision": "→"}
    texts = [one_line(event_text(r.event), 100) for r in records]
    return [
        f"{r.sequence:>5} {marks[r.role]} {r.kind:<19} {text}".rstrip()
        for r, text in zip(records, texts, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
