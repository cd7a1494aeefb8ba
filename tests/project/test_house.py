"""The house numbers: how long functions and modules may be, and what has to have a docstring."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("protocol", "actors", "runtime", "replay", "frontends", "src/turnlog")

MOST_FUNCTION_LINES = 60  # from `def` to the last line, with the docstring
MOST_MODULE_LINES = 450

# How often `Any` may occur, by folder. Most are JSON objects. Lower a number; never raise one.
MOST_ANY = {"actors": 1, "frontends": 28, "protocol": 32, "replay": 101, "runtime": 45}

# How many public names may lack a docstring, by folder. Lower a number; never raise one.
MOST_UNDOCUMENTED = {"actors": 8, "frontends": 21, "replay": 44, "runtime": 1}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Module:
    """One module of the project, parsed."""

    path: str
    text: str
    tree: ast.Module

    @property
    def folder(self) -> str:
        return self.path.removeprefix("src/").split("/")[0]


def module(path: str, text: str) -> Module:
    return Module(path, text, ast.parse(text))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def long_functions(one: Module, most: int) -> Iterator[str]:
    for node in ast.walk(one.tree):
        if isinstance(node, Function):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > most:
                yield f"{one.path}: {node.name} has {lines} lines"


def uses_of_any(one: Module) -> int:
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(one.tree))


def public_names(one: Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yield the public functions and classes of a module, and the methods of these classes."""
    for node in _public(one.tree.body):
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{method.name}", method) for method in _public(node.body))


def _public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def undocumented(modules: list[Module]) -> Iterator[str]:
    """Yield each public name that has no docstring.

    A method needs none if a protocol describes a method of this name: that one says what all of
    them do. Neither does a setter or an overload.
    """
    described = {
        name.rpartition(".")[2]
        for one in modules
        for name, node in public_names(one)
        if name in _protocol_methods(one) and ast.get_docstring(node)
    }
    for one in modules:
        for name, node in public_names(one):
            known = "." in name and name.rpartition(".")[2] in described
            if not known and not ast.get_docstring(node) and not _is_part(node):
                yield f"{one.path}:{node.lineno}: {name}"


def _protocol_methods(one: Module) -> set[str]:
    """Return the methods of a module's protocols, by qualified name."""
    return {
        f"{node.name}.{method.name}"
        for node in _public(one.tree.body)
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        for method in _public(node.body)
    }


def _is_part(node: Function | ast.ClassDef) -> bool:
    """Say whether a definition is a setter or an overload, which another one describes."""
    return bool(
        {"setter", "overload"}
        & {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
    )


def test_a_long_function_is_found_with_its_lines() -> None:
    text = "def f() -> None:\n" + "    pass\n" * 3
    assert list(long_functions(module("a.py", text), 3)) == ["a.py: f has 4 lines"]


def test_what_a_port_describes_needs_no_docstring_in_a_store() -> None:
    port = 'class Log(Protocol):\n    """A log."""\n    def read(self):\n        """Read it."""\n'
    store = 'class Lmdb:\n    """A store."""\n    def read(self): ...\n    def write(self): ...\n'
    found = undocumented([module("ports.py", port), module("lmdb.py", store)])
    assert list(found) == ["lmdb.py:4: Lmdb.write"]


def test_functions_and_modules_are_short(modules: list[Module]) -> None:
    long = {line for one in modules for line in long_functions(one, MOST_FUNCTION_LINES)}
    for one in modules:
        if (lines := len(one.text.splitlines())) > MOST_MODULE_LINES:
            long.add(f"{one.path} has {lines} lines")
    assert long == set()


def test_no_folder_has_more_of_any_than_before(modules: list[Module]) -> None:
    count = Counter[str]()
    for one in modules:
        count[one.folder] += uses_of_any(one)
    assert {folder: n for folder, n in count.items() if n > MOST_ANY.get(folder, 0)} == {}


def test_public_names_have_docstrings(modules: list[Module]) -> None:
    found = list(undocumented(modules))
    count = Counter(line.split("/")[0] for line in found)
    more = {folder for folder in count if count[folder] > MOST_UNDOCUMENTED.get(folder, 0)}
    assert not more, "\n".join(line for line in found if line.split("/")[0] in more)
