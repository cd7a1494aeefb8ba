"""The options of the launcher, which confines by namespaces, by landlock, or within bwrap."""

from collections.abc import Iterable

from turnlog.runtime.sandbox.layout import Access, Layout


def within_bubblewrap(*, network: bool) -> list[str]:
    """Return the options for a command that bubblewrap has given its mounts and namespaces."""
    return _sockets(network, own=True)


def in_namespaces(layout: Layout, *, cwd: str, network: bool, user_namespace: bool) -> list[str]:
    """Return the options that give a command mounts and namespaces of its own."""
    options: dict[Access, str] = {"write": "--write", "read": "--read", "hide": "--hide"}
    mounts = [(options[access], path) for path, access in layout.mounts().items() if path != "/"]
    return [
        "--namespaces",
        *(["--user-namespace"] if user_namespace else []),
        *(["--network"] if network else []),
        *("--cwd", cwd),
        *_sockets(network, own=True),
        *("--landlock", "try"),
        *(word for mount in mounts for word in mount),
    ]


def by_landlock(
    layout: Layout, *, network: bool, private: str | None, changed: Iterable[str] | None
) -> list[str]:
    """Return the options that confine a command by rights alone.

    Args:
        private: a folder for temporary files, made for this command.
        changed: folders that it may change, and no others; None: what the layout says.
    """
    closed = layout.closed
    if changed is not None:
        paths = _each("--write", changed)
    else:
        whole = [root for root in layout.writable if root not in closed]
        paths = [
            *_each("--write", [*whole, *([private] if private else [])]),
            *_each("--entries", [path for path in closed if not layout.is_temporary(path)]),
            *_each("--keep", (*layout.protected, *layout.absent, *closed)),
        ]
    return [
        *_sockets(network, own=False),
        "--sees-engine",
        *("--landlock", "needed"),
        *paths,
        *_each("--hide", layout.hidden),
    ]


def _sockets(network: bool, *, own: bool) -> list[str]:
    return ["--sockets", "all" if network else "own" if own else "none"]


def _each(option: str, paths: Iterable[str]) -> list[str]:
    return [word for path in paths for word in (option, path)]
