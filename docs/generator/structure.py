"""The page of folders, each with its purpose, and the check that no modules import in a circle.

`python -m docs.generator.structure` prints the circles; its exit code is 1 if there are any.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from docs.generator.markdown import code, page, section, table

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "turnlog"
HOUSE: Final = ("frontends", "replay", "runtime", "actors", "protocol")  # in this order imports run

_INTRODUCTION = """
Where a thing happens, and where a new thing goes. A folder's purpose is the first sentence of its
`__init__.py`. Imports run from the top of this page to its end, never back.
"""
_CIRCLES = """
No module imports another one that leads back to it, not even for its types. `make check` looks for
such circles, also in imports within functions and below `TYPE_CHECKING`.
"""


def folders() -> str:
    """Return the page."""
    found = circles(imports(ROOT))
    lines = [" → ".join(code(name) for name in circle) for circle in found] or ["There are none."]
    rows = [(code(f"{folder}/"), purpose(ROOT / folder)) for folder in packages()]
    return page(
        "Folders",
        _INTRODUCTION,
        table(("folder", "what it is for"), rows),
        section(2, "Circles of modules", _CIRCLES.strip(), *lines),
    )


def packages() -> list[str]:
    """Return the folders of the source that hold a module, as paths below the root."""
    return [
        str(path.parent.relative_to(ROOT))
        for top in HOUSE
        for path in sorted((ROOT / top).rglob("__init__.py"))
    ]


def purpose(folder: Path) -> str:
    """Return the first sentence of a folder's docstring; nothing if it has none."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    first = " ".join(text.partition("\n\n")[0].split())
    return first.partition(". ")[0].removesuffix(".") + "." if first else ""


@cache  # to parse all modules takes a second
def imports(root: Path) -> Mapping[str, set[str]]:
    """Return for each module below `root` the modules there that it imports, anywhere in it.

    They are read once: what is written there later is not seen.
    """
    files = dict(_modules(root))
    return {
        name: {found for found in _imported(path, files) if found != name}
        for name, path in files.items()
    }


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    tops = [(root / top, (PACKAGE, top)) for top in HOUSE]
    for folder, prefix in [*tops, (root / "src" / PACKAGE, (PACKAGE,))]:
        nested = folder.parent != root / "src"
        for path in folder.rglob("*.py") if nested else folder.glob("*.py"):
            names = [*prefix, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(names[:-1] if names[-1] == "__init__" else names), path


def _imported(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name in files)
            case ast.ImportFrom(module=str(module), names=names):
                for one in names:
                    if (whole := f"{module}.{one.name}") in files:
                        yield whole
                    elif module in files:
                        yield module
            case _:
                pass


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return modules that import each other in a circle: one circle for each knot of them."""
    found: list[list[str]] = []
    left = dict(graph)
    while True:
        sorter = TopologicalSorter({name: needed & left.keys() for name, needed in left.items()})
        try:
            sorter.prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            found.append(circle)
            for name in circle:
                left.pop(name, None)
        else:
            return found


def main() -> int:
    """Print the circles; return the exit code."""
    graph = imports(ROOT)
    found = circles(graph)
    for circle in found:
        print(" -> ".join(circle))
    print(f"{len(found)} circles of imports among {len(graph)} modules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
