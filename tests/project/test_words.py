"""Words that make readers stop are not used, or fewer in each folder than the last time.

A word below has an ordinary one that says the same. Who rewrites a text lowers the number of its
folder in `ALLOWED`; a folder at zero leaves the table. A text that a client or a model matches on
stays as it is.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]

# What to look for, and what to say instead. A word in *emphasis* is one that a page talks about.
WORDS = {
    r"behind": "after, or name the relation",
    r"in front of": "before",
    r"mend(s|ed|ing)?": "repair, fix",
    r"untold": "unreported",
    r"of the user's(?=$|[^ ]| (that|which|and|or|is|are|were) )": "the user's",
    r"(go|goes|going|gone|went) on": "continue",
    r"(come|comes|came|coming) to (rest|nothing|an end)": "end, become idle",
    r"(at|to) rest": "idle",
    r"rests": "is idle",
    r"stands(?! for| in for)": "is",
    r"vain": "failure, or unused",
    r"gist": "summary",
    r"dormant": "name what is off",
    r"anew": "again",
    r"(?<!there )(is|are|was|were) no \w+ that": "is not a ... that",
    r"(there|where|here)(of|upon|by)|hence|whence|lest|nought|till|shall|ought": "plain words",
}

# How often they may still occur, by folder. A number can only become smaller.
ALLOWED: dict[str, int] = {
    "actors/core": 5,
}

FOLDERS = [
    *(".ci", "actors", "benchmarks", "docs", "frontends", "protocol", "replay", "runtime"),
    *("src/turnlog", "tests"),
]
LEFT_OUT = ("docs/reference/generated", "tests/data", "tests/project/test_words.py")

_PATTERNS = [
    (re.compile(rf"(?<![*A-Za-z])({word})(?![A-Za-z])", re.IGNORECASE), better)
    for word, better in WORDS.items()
]
# One search of a whole text is much cheaper than each pattern on each line; nearly all have none.
_ANY = re.compile(rf"(?<![*A-Za-z])(?:{'|'.join(WORDS)})(?![A-Za-z])", re.IGNORECASE)


@attrs.frozen
class Place:
    """Where a word occurs, and what to say instead."""

    path: str
    line: int
    word: str
    better: str

    @property
    def folder(self) -> str:
        return "/".join(self.path.split("/")[:-1][:2]) or "."


def places(path: str, text: str) -> Iterator[Place]:
    if not _ANY.search(text):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, better in _PATTERNS:
            for found in pattern.finditer(line):
                yield Place(path, number, found[1], better)


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path, relative to the root, and the content of every text of the project."""
    paths = [ROOT / "Makefile", *ROOT.glob("*.md")]
    for folder in FOLDERS:
        paths += (path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ""})
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and not name.startswith(LEFT_OUT):
            yield name, path.read_text()


def test_a_word_is_found_whole_and_in_names_of_tests() -> None:
    text = "def test_it_waits_behind_it() -> None: ...\n# amended, and *behind* is avoided\n"
    assert list(places("tests/test_it.py", text)) == [
        Place("tests/test_it.py", 1, "behind", "after, or name the relation")
    ]


def test_a_folder_is_the_first_two_of_a_path() -> None:
    paths = ["README.md", "runtime/assembly.py", "runtime/store/lmdb/log.py"]
    folders = [Place(path, 1, "", "").folder for path in paths]
    assert folders == [".", "runtime", "runtime/store"]


def test_no_folder_has_more_of_these_words_than_before() -> None:
    found = [place for path, text in texts() for place in places(path, text)]
    count = Counter(place.folder for place in found)
    more = {folder for folder in count if count[folder] > ALLOWED.get(folder, 0)}
    assert not more, "\n".join(
        ["these words make readers stop; say it in others:"]
        + [f"{p.path}:{p.line}: {p.word} (say: {p.better})" for p in found if p.folder in more]
    )
    fewer = {folder: count[folder] for folder in ALLOWED if count[folder] < ALLOWED[folder]}
    assert not fewer, f"fewer than ALLOWED has: well done; write these numbers into it: {fewer}"
