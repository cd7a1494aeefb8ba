"""The page that maps acceptance cases to tests has every case, and each test that it names."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/acceptance.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| (T|P|J3\.)\d", line)
]


@cache
def names_in(path: str) -> frozenset[str]:
    source = ROOT / path
    text = source.read_text() if source.is_file() else ""
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


def test_every_case_has_a_row() -> None:
    cases = [f"T{n}" for n in range(1, 18)]
    cases += [f"P{n}" for n in range(1, 23)]
    cases += [f"J3.{n}" for n in range(1, 13)]
    assert [row[0] for row in ROWS] == cases


def test_each_test_on_the_page_exists() -> None:
    named = re.findall(r"([\w/.]+\.py)::(\w+)", PAGE)
    assert named
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_a_case_without_a_test_says_why() -> None:
    for case, _, tests, note in ROWS:
        assert tests or note.startswith(("later: ", "not offered: ")), case
