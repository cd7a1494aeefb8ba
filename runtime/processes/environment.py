"""Which variables a command gets: keys and tokens stay with the engine. Pure.

Source: functional model B3 for the steps and their order.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from turnlog.protocol.settings import ShellEnvironmentPolicy

CORE: Final = frozenset(
    {"HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME", "TMPDIR", "TEMP", "TMP"}
)
DEFAULT_EXCLUDES: Final = ("*KEY*", "*SECRET*", "*TOKEN*")

# Output that a model can read: no colours, no pager that waits, one encoding.
FORCED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "COLORTERM": "",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GH_PAGER": "cat",
        "TURNLOG": "1",
    }
)


def child_environment(
    policy: ShellEnvironmentPolicy, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a command.

    In order: what `policy.inherit` lets through; without the default excludes, unless they are
    ignored; without `exclude`; with `set` over it; of that, `include_only` if it names anything
    (a name that `set` gave is filtered too); and over all the variables in `FORCED`.

    Globs are matched without regard to case.
    """
    match policy.inherit:
        case "all":
            variables = dict(inherited)
        case "core":
            variables = {name: value for name, value in inherited.items() if name.upper() in CORE}
        case "none":
            variables = {}
    if not policy.ignore_default_excludes:
        variables = _without(variables, DEFAULT_EXCLUDES)
    variables = _without(variables, policy.exclude)
    variables |= policy.set
    if policy.include_only:
        variables = {
            name: value for name, value in variables.items() if _matches(name, policy.include_only)
        }
    return {**variables, **FORCED}


def _without(variables: Mapping[str, str], globs: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not _matches(name, globs)}


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name.upper(), glob.upper()) for glob in globs)
