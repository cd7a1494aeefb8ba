"""The command line of bubblewrap for a layout. Pure but for asking what is a folder.

Source: bwrap(1), 0.8.0.
"""

import os

from turnlog.runtime.launcher.privileges import KEPT_CAPABILITIES
from turnlog.runtime.launcher.procfs import kernel_paths
from turnlog.runtime.processes.launch import LaunchLine
from turnlog.runtime.sandbox.layout import Layout


def bubblewrap_argv(
    program: str,
    line: LaunchLine,
    *,
    cwd: str,
    layout: Layout,
    network: bool,
    user_namespace: bool,
) -> LaunchLine:
    """Return the command line that runs `line` confined, with its attendant inside.

    Args:
        program: path of bwrap.
        line: the command, as the launcher runs it.
        cwd: where it starts.
        layout: what it may do where. What is absent has a stand-in to be mounted on.
        network: False gives it a network of its own, with loopback only.
        user_namespace: True also for root, where a plain namespace is not allowed.
    """
    options = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
    if not network:
        options.append("--unshare-net")
    if user_namespace:
        options.append("--unshare-user")
    if os.geteuid() == 0:
        options += [word for name in KEPT_CAPABILITIES for word in ("--cap-add", name)]
    return LaunchLine([program, *options, *_mounts(layout), "--chdir", cwd, "--", *line])


def _mounts(layout: Layout) -> list[str]:
    options: list[str] = []
    masks: list[str] = []
    for path, access in layout.mounts().items():
        match access:
            case "write":
                options += ["--bind", path, path]
            case "read":
                options += ["--ro-bind", path, path]
            case "hide" if os.path.isdir(path):
                options += ["--tmpfs", path]
                masks += ["--remount-ro", path]  # last: mounts below it need folders in it
            case "hide":
                options += ["--ro-bind", "/dev/null", path]
        if path == "/":
            options += ["--dev", "/dev", "--proc", "/proc"]
            for kept in kernel_paths():
                options += ["--ro-bind", kept, kept]
    return options + masks
