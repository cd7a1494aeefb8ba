"""The reference has everything that the code has, and every text that it needs."""

import re
from pathlib import Path
from typing import get_args

import pytest
from docs.generator.command_line import commands
from docs.generator.configuration import configuration
from docs.generator.pages import FOLDER, GENERATED
from docs.generator.python_api import public_names
from docs.generator.vocabulary import event_kinds

from turnlog.protocol.envelope import KIND_NAMES
from turnlog.protocol.events import Opens
from turnlog.protocol.ops import Op
from turnlog.runtime.config.reference import keys

ROOT = Path(__file__).parents[2]
GENERATED_PAGES = {ROOT / "docs" / FOLDER / name for name in GENERATED}
PAGES = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")} - GENERATED_PAGES
)

# Words that readers with another first language stumble over, and what to say instead.
AVOIDED = {
    r"\bbehind\b": "after",
    r"\bin front of\b": "before",
    r"\bmend(s|ed|ing)?\b": "repair, fix",
    r"\buntold\b": "not reported",
    r"\bat rest\b": "idle",
    r"\bgo(es)? on with\b": "continue",
    r"\bof the user's\b": "of the user",
}


def test_each_command_has_its_section_and_its_options() -> None:
    page = GENERATED["command-line.md"]()
    for name, command in commands():
        section = page.partition(f"## turnlog {name}\n")[2].partition("\n## ")[0]
        shown = set(re.findall(r"`(-[\w-]+)`", section))
        options = {
            word
            for parameter in command.params
            if not getattr(parameter, "hidden", True)
            for word in parameter.opts
        }
        assert options - shown == set(), name


def test_each_event_has_its_section() -> None:
    page = GENERATED["events.md"]()
    assert [kind for kind in event_kinds() if f"### {kind}\n" not in page] == []


def test_each_public_name_is_on_the_page_of_the_python_api() -> None:
    page = GENERATED["python.md"]()
    assert [name for name in public_names() if f"turnlog.{name}\n" not in page] == []


def test_each_key_of_the_configuration_says_what_it_does() -> None:
    rows = [line for line in configuration().splitlines() if line.startswith("| `")]
    assert len(rows) == len(list(keys()))
    assert [row for row in rows if row.endswith("|  |")] == []


def test_each_event_and_each_op_is_on_the_page_of_names() -> None:
    page = (ROOT / "docs/vocabulary.md").read_text()
    names = [*event_kinds(), *(op.__struct_config__.tag for op in get_args(Op))]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_each_effect_is_in_the_table_of_effects() -> None:
    page = (ROOT / "docs/topics/facts-and-decisions.md").read_text()
    effects = [KIND_NAMES[kind] for kind in Opens.__subclasses__()]
    assert [name for name in effects if f"`{name}`" not in page] == []


def test_the_exit_codes_of_each_command_are_told() -> None:
    page = (ROOT / "docs/exit-codes.md").read_text()
    assert [name for name, _ in commands() if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_of_the_docs_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        place = (page.parent / target).resolve()
        assert target.startswith("http") or place in GENERATED_PAGES or place.exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_on_a_page_exists_with_its_options(page: Path) -> None:
    known = dict(commands())
    for name, rest in re.findall(r"turnlog ([a-z][a-z-]*)([^|#\n]*)", code_of(page.read_text())):
        assert name in known, name
        options = {"-h", "--help"}
        for parameter in known[name].params:
            options.update(parameter.opts, parameter.secondary_opts)
        given = {word.partition("=")[0] for word in re.findall(r"(?<= )--?[a-z][\w=-]*", rest)}
        assert given - options == set(), f"turnlog {name}{rest}"


def code_of(text: str) -> str:
    """Return the commands that a page shows: its blocks for a shell, and code in its prose."""
    blocks = re.findall(r"^```(?:sh|console|yaml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", prose)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_in_plain_english(page: Path) -> None:
    if page.parent.name == "decisions":
        return  # a record of its time
    # Words in italics are spoken about.
    text = re.sub(r"\*[^*\n]+\*", "", page.read_text())
    assert [word for word in AVOIDED if re.search(word, text, re.IGNORECASE)] == []
