"""The page of the Python API: what `import turnlog` gives, and the test kit.

The page only lists the names. Sphinx takes signatures and docstrings from the objects themselves.
"""

import ast
import inspect

import turnlog
from docs.generator.markdown import block, page, section
from turnlog.replay import testing

_INTRODUCTION = """
turnlog runs on [trio](https://trio.readthedocs.io). What this page lists is what you may rely on;
every other module is internal and can change with each release.
"""

_KIT = """
The test kit, for tests of your own agents. See [test your agent](../../testing-agents.md). It needs
`pytest` and `hypothesis`.
"""

# What is returned by public functions, and has no public name yet.
_RETURNED = ("turnlog.runtime.engine.Engine", "turnlog.runtime.session.Session")
# An engine also has methods for turnlog itself; these are for users.
_METHODS = {"Engine": "start, resume, fork, sessions"}


def python_api() -> str:
    """Return the page."""
    names = public_names()
    returned = [name for name in _RETURNED if name.rpartition(".")[2] not in turnlog.__all__]
    return page(
        "Python API",
        _INTRODUCTION,
        section(2, "turnlog", *(_entry(f"turnlog.{name}") for name in names)),
        *([section(2, "Engine and session", *map(_entry, returned))] if returned else []),
        section(
            2,
            "turnlog.replay.testing",
            _KIT.strip(),
            *(_entry(f"turnlog.replay.testing.{name}") for name in kit_names()),
        ),
    )


def public_names() -> list[str]:
    """Return the public names of `turnlog`, without its version."""
    return [name for name in turnlog.__all__ if not name.startswith("__")]


def kit_names() -> list[str]:
    """Return the names that the test kit exports: those that it imports under their own name."""
    tree = ast.parse(inspect.getsource(testing))
    exported = (
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    )
    return sorted(name for name in exported if not inspect.ismodule(getattr(testing, name)))


def _entry(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    thing = getattr(__import__(module, fromlist=[attribute]), attribute)
    if isinstance(thing, type):
        members = _METHODS.get(attribute, "")
        directive = f".. autoclass:: {name}\n   :members: {members}".rstrip()
    elif inspect.isroutine(thing):
        directive = f".. autofunction:: {name}"
    else:
        directive = f".. autodata:: {name}"
    return block(directive, "{eval-rst}")
