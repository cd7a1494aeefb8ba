"""The command line of bubblewrap for a policy. Pure but for asking what exists.

Source: bwrap(1), 0.8.0.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from turnlog.runtime.launcher.landlock import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    KEPT_CAPABILITIES,
)
from turnlog.runtime.processes.launch import LaunchLine, attended

Access = Literal["write", "read", "hide"]

# With a network namespace of its own, a command may use loopback. Unix sockets are files, and lead
# out: to the container daemon, to the ssh agent; other families are not kept by the namespace.
SOCKET_FAMILIES = (AF_INET, AF_INET6, AF_NETLINK)

_FILTER_DESCRIPTOR = "9"
_OPEN_FILTER = f'exec "$@" {_FILTER_DESCRIPTOR}<"$0"'


def accesses(
    *, writable: Sequence[str], protected: Sequence[str], hidden: Sequence[str]
) -> dict[str, Access]:
    """Return the access to each path, parents before children: the deepest one counts.

    Where one path is in several lists the strictest counts.
    """
    found: dict[str, Access] = {"/": "read"}
    found |= dict.fromkeys(writable, "write")
    found |= dict.fromkeys(protected, "read")
    found |= dict.fromkeys(hidden, "hide")
    return dict(sorted(found.items()))


def bubblewrap_argv(
    program: str,
    argv: Sequence[str],
    *,
    cwd: str,
    paths: Mapping[str, Access],
    network: bool,
    user_namespace: bool,
    filter_path: str | None,
) -> LaunchLine:
    """Return the command line that runs `argv` confined, with its attendant inside.

    Args:
        program: path of bwrap.
        argv: the command.
        cwd: where it starts.
        paths: from `accesses`; hidden ones that do not exist are passed over.
        network: False gives it a network of its own, with loopback only.
        user_namespace: True also for root, where a plain namespace is not allowed.
        filter_path: a file with the seccomp program. A shell opens it: bwrap wants a descriptor,
            and reads it to its end, so that each command needs one of its own.
    """
    options = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
    if not network:
        options.append("--unshare-net")
    if user_namespace:
        options.append("--unshare-user")
    if os.geteuid() == 0:  # root's own files stay root's to write, whoever owns the workspace
        options += [word for name in KEPT_CAPABILITIES for word in ("--cap-add", name)]
    options += [*_mounts(paths), "--chdir", cwd]
    if filter_path is None:
        return LaunchLine([program, *options, "--", *attended(argv)])
    options += ["--seccomp", _FILTER_DESCRIPTOR]
    shell = ["/bin/sh", "-c", _OPEN_FILTER, filter_path]
    return LaunchLine([*shell, program, *options, "--", *attended(argv)])


def _mounts(paths: Mapping[str, Access]) -> list[str]:
    options: list[str] = []
    masks: list[str] = []
    for path, access in paths.items():
        match access:
            case "write":
                options += ["--bind", path, path]
            case "read":
                options += ["--ro-bind", path, path]
            case "hide" if os.path.isdir(path):
                options += ["--tmpfs", path]
                masks += ["--remount-ro", path]  # last: mounts below it need folders in it
            case "hide" if os.path.exists(path):
                options += ["--ro-bind", "/dev/null", path]
            case "hide":
                pass
        if path == "/":
            options += ["--dev", "/dev", "--proc", "/proc"]
    return options + masks
