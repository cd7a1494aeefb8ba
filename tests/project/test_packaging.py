"""The importable package is the top-level folders, and claims no other name."""

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import turnlog

ROOT = Path(__file__).parents[2]
FOLDERS = ("runtime", "actors", "protocol", "replay", "frontends")


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_link_leads_to_its_top_level_folder(folder: str) -> None:
    link = ROOT / "src" / "turnlog" / folder
    assert link.resolve() == ROOT / folder, (
        f"{link} is not a link to {folder}/. If git checked it out as a text file, "
        "run: git config core.symlinks true && git checkout -- src"
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_module_imports_under_turnlog(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.name == "__main__.py":
            continue  # it is a program
        name = ".".join(("turnlog", *path.relative_to(ROOT).with_suffix("").parts))
        name = name.removesuffix(".__init__")
        assert importlib.import_module(name).__name__ == name


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_generic_name_is_installed(folder: str) -> None:
    spec = importlib.util.find_spec(folder)
    assert spec is None or "site-packages" not in str(spec.origin)


def test_the_version_is_stated_once_for_people_and_once_for_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert turnlog.__version__ == project["version"]


def test_each_dependency_has_a_constraint_and_no_line_names_a_server() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
    pinned = {normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in project["dependency-groups"].values():
        wanted += (entry for entry in group if isinstance(entry, str))
    names = {normal(re.split(r"[<>=\[ ]", entry)[0]) for entry in wanted}
    assert names <= pinned, f"run `make constraints`; it lacks {sorted(names - pinned)}"


def normal(name: str) -> str:
    """Return a distribution's name in its one normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
