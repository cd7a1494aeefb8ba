"""Reads the launcher's arguments and does what they ask.

    [--landlock [--network] [--write PATH]... [--hide PATH]...] -- ARGV

`--landlock` confines the command: may it use sockets, what may it write below, what may it not
read. Whatever fails ends the launcher with 125 and a line on stderr: the command never runs with
less confinement than was asked.
"""

from __future__ import annotations

import os

from . import attend

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from collections.abc import Callable
    from typing import NoReturn

_FLAGS = ("--landlock", "--network")
_LISTS = ("--write", "--hide")


class Options:
    """What was asked of the launcher."""

    def __init__(self, arguments: list[str]) -> None:
        self.flags: set[str] = set()
        self.lists: dict[str, list[str]] = {name: [] for name in _LISTS}
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
        self.argv = list(rest)
        if not self.argv:
            raise ValueError("no command was given after --")


def main(arguments: list[str]) -> NoReturn:
    try:
        options = Options(arguments)
    except ValueError as error:
        attend.leave(attend.FAILED, f"the command was not run: {error}")
    os._exit(attend.run(options.argv, confine=_confinement(options)))  # at once: 3 ms


def _confinement(options: Options) -> Callable[[], None] | None:
    """Return what confines the command, to be called in its process before it runs."""
    if "--landlock" not in options.flags:
        return None
    from . import landlock

    return lambda: landlock.confine(
        options.lists["--write"], options.lists["--hide"], network="--network" in options.flags
    )
