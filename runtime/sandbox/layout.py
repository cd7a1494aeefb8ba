"""What a policy means on this file system: what commands can write, and what is kept from them.

These functions read the file system and change nothing. All paths that they return are real
paths: no part of them is a symbolic link.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.launcher.landlock import plain_entries
from turnlog.runtime.sandbox.git import git_paths
from turnlog.runtime.sandbox.mountpoints import is_mount_point
from turnlog.runtime.sandbox.paths import (
    PROTECTED,
    is_within,
    refuse_planted_links,
    temporary_folders,
    work_folders,
)

Access = Literal["write", "read", "hide"]

# Read at each login, or by each git command, with the rights of the user. Source: bash(1),
# zsh(1), git-config(1), sshd(8).
STARTUP_FILES: Final = (
    *(".profile", ".bash_profile", ".bash_login", ".bashrc", ".bash_logout"),
    *(".zshenv", ".zprofile", ".zshrc", ".zlogin", ".config/fish"),
    *(".gitconfig", ".config/git", ".ssh", ".pam_environment"),
    *(".config/systemd", ".config/autostart", ".config/environment.d"),
)
_MOST_LINKS: Final = 40  # as the kernel follows


class Kept(Struct, frozen=True):
    """What an engine keeps from commands, whatever the policy. The paths need not exist.

    `programs` are files and folders that run later with more rights: those on PATH, the
    interpreter, turnlog's own code. `trusted` are projects whose configuration is obeyed.
    """

    hidden: tuple[str, ...] = ()  # can be neither read nor written: turnlog's home
    user_home: str = "/"
    programs: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    markers: tuple[str, ...] = (".git",)  # what makes a folder a project's root
    documents: tuple[str, ...] = ("AGENTS.override.md", "AGENTS.md")


class Layout(Struct, frozen=True):
    """What commands can do where. Each field is sorted, so that parents come before children."""

    writable: tuple[str, ...] = ()  # the roots: all below them can be written but what follows
    protected: tuple[str, ...] = ()  # exists, and stays as it is
    absent: tuple[str, ...] = ()  # does not exist, and must not be made
    hidden: tuple[str, ...] = ()  # can be neither read nor written
    pinned: tuple[str, ...] = ()  # a way to one of these: can be neither renamed nor removed
    links: tuple[str, ...] = ()  # a link to one of these: it stays as it is
    temporary: tuple[str, ...] = ()  # those roots that are for temporary files only
    tmpdir: str | None = None  # the root that commands make their temporary files in

    @property
    def linked(self) -> tuple[str, ...]:
        """The folders of `links`: a link can be kept only by keeping its folder's entries."""
        return tuple(sorted({os.path.dirname(link) for link in self.links}))

    @property
    def closed(self) -> tuple[str, ...]:
        """Folders below a root that hold something to be kept, or could get it.

        Where rights are all that a mechanism has, nothing can be made or removed directly in
        these.
        """
        kept = {os.path.dirname(path) for path in (*self.protected, *self.absent, *self.hidden)}
        found = {path for path in kept if self.access(path) == "write"}
        return tuple(sorted(found | set(self.pinned) | set(self.linked)))

    def mounts(self) -> dict[str, Access]:
        """Return what is to be mounted, parents before children: a mount cannot be moved.

        A folder with a link that must stay is read-only itself; what else is in it is not.
        """
        kept = {*self.protected, *self.absent, *self.hidden}
        reopened = [
            path
            for folder in self.linked
            for path in plain_entries(folder)
            if path not in kept and self.access(path) == "write"
        ]
        return accesses(
            writable=(*self.writable, *self.pinned, *reopened),
            protected=(*self.protected, *self.linked),
            hidden=(*self.hidden, *self.absent),
        )

    def access(self, path: str) -> Access:
        """Return what commands can do with what is at a real path: the deepest rule counts."""
        rules = accesses(writable=self.writable, protected=self.protected, hidden=self.hidden)
        around: list[Access] = [access for rule, access in rules.items() if is_within(path, rule)]
        return around[-1]  # of "/", at least

    def is_temporary(self, path: str) -> bool:
        """Say whether the root that a path is in is for temporary files only."""
        roots = [root for root in self.writable if is_within(path, root)]
        return bool(roots) and roots[-1] in self.temporary

    def can_write(self, path: str) -> bool:
        """Say whether a file at a real path can be written, or made where there is none."""
        is_absent = any(is_within(path, name) for name in self.absent)
        is_fixed = path in self.pinned or path in self.links
        return self.access(path) == "write" and not is_absent and not is_fixed


def accesses(
    *, writable: Iterable[str], protected: Iterable[str], hidden: Iterable[str]
) -> dict[str, Access]:
    """Return the access to each path, parents before children: the deepest one counts.

    Where one path is in several lists the strictest counts.
    """
    found: dict[str, Access] = {"/": "read"}
    found |= dict.fromkeys(writable, "write")
    found |= dict.fromkeys(protected, "read")
    found |= dict.fromkeys(hidden, "hide")
    return dict(sorted(found.items()))


def lay_out(
    policy: SandboxPolicy,
    *,
    workspace: str,
    env: Mapping[str, str],
    kept: Kept,
    extra: Sequence[str] = (),
) -> Layout:
    """Return what a command may do under `policy`, in `workspace`, with the environment `env`.

    Args:
        extra: folders that are writable too, in read-only mode as well.

    Raises:
        Unavailable: the workspace or a folder that should be writable is in a hidden
            one, or is reached by a link that a command could have planted.
    """
    work = work_folders(policy, workspace=workspace, extra=extra)
    _refuse_hidden([workspace, *work], kept.hidden)
    temporary = [
        path
        for path in temporary_folders(policy, env)
        if not any(is_within(os.path.realpath(path), home) for home in _real(kept.hidden))
    ]
    refuse_planted_links([*work, *temporary])
    works, temporaries = _real(work), _real(temporary)
    plan = _Plan(sorted({*works, *temporaries}))
    for path in (*work, *temporary):
        plan.pin(_way(path))
    for path in kept.hidden:
        plan.hide(_way(path))
    for path in _names(works, temporaries, os.path.realpath(workspace), kept):
        plan.protect(_way(path))
    return Layout(
        writable=tuple(plan.roots),
        protected=plan.governed(plan.protected),
        absent=plan.governed(plan.absent),
        hidden=tuple(sorted(plan.hidden)),
        pinned=plan.governed(plan.pinned - plan.protected - plan.hidden),
        links=plan.governed(plan.links),
        temporary=tuple(sorted(set(temporaries) - set(works))),
        tmpdir=temporaries[-1] if temporaries else None,
    )


def _real(paths: Iterable[str]) -> list[str]:
    return [os.path.realpath(path) for path in paths]


def _refuse_hidden(paths: Iterable[str], hidden: Sequence[str]) -> None:
    for path in paths:
        for home in hidden:
            if is_within(os.path.realpath(path), os.path.realpath(home)):
                raise Unavailable(
                    ErrorCode.SANDBOX_UNAVAILABLE,
                    f"commands cannot work in {path}: it is in {home}, which turnlog keeps from "
                    "them. Work in another folder, or move turnlog's home (TURNLOG_HOME).",
                )


def _names(
    works: Sequence[str],
    temporaries: Sequence[str],
    workspace: str,
    kept: Kept,
) -> Iterable[str]:
    """Yield the paths that stay as they are, whether or not they exist, wherever they are."""
    roots = [*works, *temporaries]
    above = _above(workspace, roots)
    trusted = [path for path in _real(kept.trusted) if any(is_within(path, at) for at in roots)]
    for folder in (*works, *above, *trusted):
        yield from (os.path.join(folder, name) for name in PROTECTED)
        yield from git_paths(folder, kept.user_home)
    for folder in above:
        yield from (os.path.join(folder, marker) for marker in kept.markers)
    for folder in _documented(workspace, above, kept.markers):
        yield from (os.path.join(folder, name) for name in kept.documents)
    for name in STARTUP_FILES:
        path = os.path.join(kept.user_home, name)
        if os.path.lexists(path):  # a stand-in would change what other shells do meanwhile
            yield path
    yield from kept.programs


def _above(workspace: str, roots: Sequence[str]) -> list[str]:
    """Return the writable folders above the workspace."""
    folders: list[str] = []
    folder = workspace
    while (folder := os.path.dirname(folder)) and any(is_within(folder, root) for root in roots):
        folders.append(folder)
        if folder == "/":
            break
    return folders


def _documented(workspace: str, above: Sequence[str], markers: Sequence[str]) -> Sequence[str]:
    """Return those folders of `above` whose AGENTS.md the model is told: up to the project's."""
    for index, folder in enumerate((workspace, *above)):
        if any(os.path.lexists(os.path.join(folder, marker)) for marker in markers):
            return above[:index]
    return ()


class _Way(NamedTuple):
    """How a path is reached: the links and the folders on the way, and where it ends."""

    links: list[str]
    folders: list[str]
    end: str
    exists: bool  # else `end` is the first part that is missing


def _way(path: str) -> _Way:
    links: list[str] = []
    folders: list[str] = []
    at = "/"
    left = path.split("/")
    while left:
        name = left.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, name)
        try:
            status = os.lstat(here)
        except OSError:
            return _Way(links, folders, here, exists=False)
        if is_mount_point(here, status):
            return _Way(links, folders, here, exists=False)
        if stat.S_ISLNK(status.st_mode) and len(links) < _MOST_LINKS:
            links.append(here)
            target = os.readlink(here)
            at = "/" if target.startswith("/") else at
            left[:0] = target.split("/")
        else:
            folders.append(here)
            at = here
    return _Way(links, [folder for folder in folders if folder != at], at, exists=True)


class _Plan:
    """Gathers what is to be kept below some roots."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = roots
        self.protected: set[str] = set()
        self.absent: set[str] = set()
        self.hidden: set[str] = set()
        self.pinned: set[str] = set()
        self.links: set[str] = set()

    def pin(self, way: _Way) -> None:
        """Keep the way: its folders, and the links on it."""
        self.pinned |= {folder for folder in way.folders if self._is_below_root(folder)}
        self.links |= {link for link in way.links if self._is_below_root(link)}

    def hide(self, way: _Way) -> None:
        self.pin(way)
        if way.exists:
            self.hidden.add(way.end)
        elif self._is_below_root(way.end):
            self.absent.add(way.end)

    def protect(self, way: _Way) -> None:
        """Keep what is there. A root, or what holds it all, cannot be: it is to be written."""
        self.pin(way)
        if way.end in self.roots or not self._is_below_root(way.end):
            return
        (self.protected if way.exists else self.absent).add(way.end)

    def governed(self, paths: set[str]) -> tuple[str, ...]:
        """Return those of `paths` that are not kept already by what is around them."""
        around = Layout(tuple(self.roots), tuple(self.protected), (), tuple(self.hidden))
        return tuple(
            path
            for path in sorted(paths - set(self.roots))
            if around.access(os.path.dirname(path)) == "write"
        )

    def _is_below_root(self, path: str) -> bool:
        return any(path != root and is_within(path, root) for root in self.roots)
