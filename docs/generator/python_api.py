"""The page of the Python API: what `import turnlog` gives, and the test kit.

The page only lists the names. Sphinx takes signatures and docstrings from the objects themselves.
"""

import inspect
from importlib import import_module

import turnlog
from docs.generator.markdown import block, code, page, section, table
from turnlog import testing
from turnlog.runtime.config.field_comments import fields_of, is_struct

_INTRODUCTION = """
turnlog runs on [trio](https://trio.readthedocs.io). What this page lists is what you may rely on;
every other module is internal and can change with each release.
"""

_KIT = """
The test kit, for tests of your own agents. See [test your agent](../../testing-agents.md). It needs
`pytest` and `hypothesis`.
"""

_ROOMS = ("Functions", "Engine and session", "Tools and settings", "Errors")
_DOORS = ("Engine", "Session")
# Where a class has more than users need: its members for them.
_MEMBERS = {"Engine": "start, resume, fork, sessions", "Config": "providers"}


def python_api() -> str:
    """Return the page."""
    rooms: dict[str, list[str]] = {title: [] for title in _ROOMS}
    for name in public_names():
        rooms[_room(getattr(turnlog, name))].append(name)
    return page(
        "Python API",
        _INTRODUCTION,
        *(
            section(2, title, *(_entry(f"turnlog.{name}") for name in names))
            for title, names in rooms.items()
            if names
        ),
        section(
            2,
            "Test kit",
            _KIT.strip(),
            *(_entry(f"turnlog.testing.{name}") for name in kit_names()),
        ),
    )


def _room(thing: object) -> str:
    """Return the title of the section that a name belongs to."""
    if inspect.isroutine(thing):
        return "Functions"
    if not isinstance(thing, type):
        return "Tools and settings"
    if issubclass(thing, Exception):
        return "Errors"
    return "Engine and session" if thing.__name__ in _DOORS else "Tools and settings"


def public_names() -> list[str]:
    """Return the public names of `turnlog`, without its version."""
    return [name for name in turnlog.__all__ if not name.startswith("__")]


def kit_names() -> list[str]:
    """Return the names that the test kit exports, but for modules."""
    return [name for name in testing.__all__ if not inspect.ismodule(getattr(testing, name))]


def _entry(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    thing = getattr(import_module(module), attribute)
    if not isinstance(thing, type):
        directive = "autofunction" if inspect.isroutine(thing) else "autodata"
        return block(f".. {directive}:: {name}", "{eval-rst}")
    directive = f".. autoclass:: {name}\n   :members: {_MEMBERS.get(attribute, '')}".rstrip()
    return f"{block(directive, '{eval-rst}')}\n\n{_fields(thing)}".rstrip()


def _fields(kind: type) -> str:
    """Return the fields of a message."""
    if not is_struct(kind):
        return ""
    rows = [
        (code(field.name), code(field.type), code(field.default or ""), field.meaning)
        for field in fields_of(kind)
    ]
    return table(("field", "type", "default", "meaning"), rows)
