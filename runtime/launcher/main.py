"""Reads the launcher's arguments and does what they ask.

    [--sockets none|own|all [--sees-engine] [--landlock needed|try]]
    [--namespaces [--user-namespace] [--network] [--cwd DIR]]
    [--write PATH]... [--entries DIR]... [--keep PATH]... [--read PATH]...
    [--hide PATH]... -- ARGV

`--sockets` confines the command, `--namespaces` gives it namespaces of its own. The paths say what
it may write with all below, or the entries of which but for what is kept; what stays read-only,
where it is, or hidden. Whatever fails ends the launcher with 125 and a line on stderr: the command
never runs with less confinement than was asked.
"""

from __future__ import annotations

import os

from . import attend

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from collections.abc import Callable
    from typing import NoReturn

    from .confine import Landlock

_FLAGS = ("--namespaces", "--user-namespace", "--network", "--sees-engine")
_LISTS = ("--sockets", "--landlock", "--cwd")
_PATHS = ("--write", "--entries", "--keep", "--read", "--hide")
_OWN = ("/proc", "/dev")  # in namespaces, these are the command's own


class Options:
    """What was asked of the launcher."""

    def __init__(self, arguments: list[str]) -> None:
        self.flags: set[str] = set()
        self.lists: dict[str, list[str]] = {name: [] for name in (*_LISTS, *_PATHS)}
        rest = iter(arguments)
        for option in rest:
            if option == "--":
                break
            if option in _FLAGS:
                self.flags.add(option)
            elif option in self.lists:
                self.lists[option].append(next(rest, ""))
            else:
                raise ValueError(f"{option!r} is not an option of the launcher")
        self.argv: list[str] = list(rest)
        if not self.argv:
            raise ValueError("no command was given after --")


def main(arguments: list[str]) -> NoReturn:
    """Run a command as the arguments ask, and exit as it does."""
    try:
        options = Options(arguments)
        confine = _confinement(options)
    except (OSError, ValueError) as error:
        attend.leave(attend.FAILED, f"the command was not run: {error}")

    def run() -> int:
        return attend.run(options.argv, confine=confine)

    code = _in_namespaces(options, run) if "--namespaces" in options.flags else run()
    os._exit(code)  # at once: 3 ms


def _in_namespaces(options: Options, run: Callable[[], int]) -> int:
    from . import namespaces

    paths = options.lists
    view = namespaces.View(
        write=paths["--write"],
        read=paths["--read"],
        hide=paths["--hide"],
        cwd=(paths["--cwd"] or ["/"])[-1],
        network="--network" in options.flags,
    )
    try:
        return namespaces.run(view, run, user="--user-namespace" in options.flags)
    except OSError as error:
        attend.leave(attend.FAILED, f"the command was not run: {error}")


def _confinement(options: Options) -> Callable[[], None] | None:
    """Return what confines the command, to be called in its process before it runs."""
    if not options.lists["--sockets"]:
        return None
    from . import confine, landlock

    paths = options.lists
    has_mounts = "--namespaces" in options.flags
    rules = landlock.Rules(
        write=(*paths["--write"], *(_OWN if has_mounts else ())),
        entries=paths["--entries"],
        kept=(*paths["--keep"], *paths["--read"]),
        hidden=() if has_mounts else paths["--hide"],
        network=paths["--sockets"] != ["none"],
    )
    kinds = {"none": (), "own": confine.OWN_NETWORK, "all": None}
    families = kinds[paths["--sockets"][-1]]
    asked: dict[str, Landlock] = {"needed": "needed", "try": "where it works"}
    use_landlock: Landlock = asked[paths["--landlock"][-1]] if paths["--landlock"] else "no"
    sees_engine = "--sees-engine" in options.flags
    engine = confine.engine_pids() if sees_engine else ()
    return lambda: confine.confine(
        rules,
        use_landlock=use_landlock,
        families=families,
        sees_engine=sees_engine,
        engine=engine,
    )
