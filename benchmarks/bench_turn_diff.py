"""The diff of a turn: near linear in the lines, whatever changed, where difflib is quadratic."""

import random
from functools import partial
from typing import Final

from measure import Bench, Claim, Rounds, main, timed

from turnlog.actors.turn_diff.unified import unified_diff
from turnlog.protocol.files import FileImage

LINES: Final = 100_000
SMALL: Final = 10_000
ROUNDS: Final = 3
ROOT: Final = "/work"
PATH: Final = "/work/file"

FEW = Claim("2 % of 100k lines changed against hashing them", 40, "x")
MANY = Claim("every third of 100k lines changed against hashing them", 70, "x")
REPEATED = Claim("100k lines of 50 kinds, 2 % changed, against hashing them", 70, "x")
HOPELESS = Claim("100k lines of 2 kinds, unrelated, against hashing them", 250, "x")
GROWTH = Claim("2 % changed, 100k lines against 10k lines", 20, "x")
CLAIMS = (FEW, MANY, REPEATED, HOPELESS, GROWTH)


def _few(lines: list[str], dice: random.Random) -> list[str]:
    return [line if dice.random() > 0.02 else f"{line} new" for line in lines]


def _diff(old: list[str], new: list[str]) -> None:
    one, other = (
        FileImage(PATH, text="".join(f"{line}\n" for line in lines), mode=0o644)
        for lines in (old, new)
    )
    assert unified_diff({PATH: one}, {PATH: other}, ROOT)


def _number_lines(old: list[str], new: list[str]) -> None:
    """The reference: what any diff has to do first."""
    numbers: dict[str, int] = {}
    for line in (*old, *new):
        numbers.setdefault(line, len(numbers))


def _inputs() -> dict[str, tuple[list[str], list[str]]]:
    dice = random.Random(1)
    unique = [f"    line {number}" for number in range(LINES)]
    repeated = [str(dice.randrange(50)) for _ in range(LINES)]
    few = _few(unique, dice)
    two = [[dice.choice("ab") for _ in range(LINES)] for _ in range(2)]
    return {
        FEW.name: (unique, few),
        MANY.name: (unique, [line if n % 3 else f"{line} new" for n, line in enumerate(unique)]),
        REPEATED.name: (repeated, _few(repeated, dice)),
        HOPELESS.name: (two[0], two[1]),
        GROWTH.name: (unique[:SMALL], few[:SMALL]),
    }


def measure(bench: Bench) -> None:
    inputs = _inputs()
    rounds = Rounds()
    for _ in range(ROUNDS):
        rounds.begin()
        for name, (old, new) in inputs.items():
            rounds.add(name, [timed(partial(_diff, old, new))])
            rounds.add(f"lines of {name}", [timed(partial(_number_lines, old, new))])
    for claim in (FEW, MANY, REPEATED, HOPELESS):
        bench.ratio(claim, rounds, claim.name, f"lines of {claim.name}")
    bench.ratio(GROWTH, rounds, FEW.name, GROWTH.name)


if __name__ == "__main__":
    main("turn_diff", CLAIMS, measure)
