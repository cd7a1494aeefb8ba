"""What the launcher does to a command's process before it becomes the command."""

from __future__ import annotations

import os

from . import landlock, privileges, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    from typing import Literal

    Landlock = Literal["needed", "where it works", "no"]

# With its own network namespace, a command may use loopback. Unix sockets are files, and lead out
# of the sandbox: to the container daemon, to the ssh agent. Other families pass a namespace.
OWN_NETWORK = (seccomp.AF_INET, seccomp.AF_INET6, seccomp.AF_NETLINK)


def confine(
    rules: landlock.Rules,
    *,
    use_landlock: Landlock,
    families: tuple[int, ...] | None,
    sees_engine: bool,
    engine: tuple[int, ...] = (),
) -> None:
    """Confine this process and all that it starts, for ever.

    Args:
        rules: what landlock grants.
        use_landlock: whether it is needed, or only another wall where it works.
        families: of the sockets that may be opened; None: all.
        sees_engine: whether the engine's processes can be named from here.
        engine: pids of those that no signal may reach.

    Raises:
        OSError: a step failed. The process may be confined in part: it must not continue.
    """
    privileges.give_up()
    version = landlock.abi()
    is_there = version >= landlock.MINIMUM_ABI
    if use_landlock == "needed" or (use_landlock == "where it works" and is_there):
        landlock.restrict(rules)
    scoped = use_landlock == "needed" and version >= landlock.SCOPES_ABI
    spared = engine if sees_engine and not scoped else ()
    machine = seccomp.this_machine()
    seccomp.install(
        seccomp.program(machine, families=families, for_itself=sees_engine, spared=spared)
    )


def engine_pids() -> tuple[int, ...]:
    """Return the pids of this process, of the one that started it, and of their groups."""
    return tuple({os.getpid(), os.getppid(), os.getpgrp(), os.getpgid(os.getppid())} - {0})
