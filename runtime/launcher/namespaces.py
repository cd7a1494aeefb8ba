"""Runs a command in namespaces of its own: what it sees is read-only but for what it may write.

The first process of the new pid namespace builds the view, then attends the command; when it
ends, the kernel ends all that is in there.

Source: namespaces(7), user_namespaces(7), mount_setattr(2), and of open_tree(2), move_mount(2)
and fsopen(2) linux/mount.h. Linux 5.12 has all of them.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from .procfs import kernel_paths
from .system import call, close_descriptors, end_with_parent, open_plain

TYPE_CHECKING = False
if TYPE_CHECKING:  # the launcher's start does not pay for typing
    import signal
    from collections.abc import Callable, Iterable
else:
    import _signal as signal

# linux/sched.h
_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NETWORK = (
    0x00020000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
# linux/mount.h and unistd.h; the numbers are the same on every machine
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8
_CLONE, _CLOEXEC = 1, 0o2000000
_EMPTY_PATH, _RECURSIVE = 0x1000, 0x8000
_FROM_EMPTY, _TO_EMPTY = 0x04, 0x40
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_GET_FLAGS, _SET_FLAGS, _IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)


class View:
    """What the command sees. All paths are real. Where several rules fit, the deepest one counts.

    Everything is read-only but `write`; `hide` is shown empty, and stays so. Nothing that is
    named here can be renamed or removed.
    """

    def __init__(
        self,
        *,
        write: Iterable[str] = (),
        read: Iterable[str] = (),
        hide: Iterable[str] = (),
        cwd: str = "/",
        network: bool = False,
    ) -> None:
        rules = dict.fromkeys(write, "write")
        rules.update(dict.fromkeys(read, "read"))
        rules.update(dict.fromkeys(hide, "hide"))
        self.rules: list[tuple[str, str]] = sorted(rules.items())  # parents before children
        self.cwd = cwd
        self.network = network


def run(view: View, attend: Callable[[], int], *, user: bool) -> int:
    """Run `attend` as the first process of new namespaces; return its exit code when all is over.

    Args:
        user: with a user namespace, in which this user has the rights that the rest needs.

    Raises:
        OSError: the kernel refused one of the namespaces.
    """
    null = os.open(os.devnull, os.O_RDWR)  # the child empties /dev, which both see
    _leave_host(view, user)
    first = os.fork()
    if first == 0:
        os.close(null)
        end_with_parent(signal.SIGKILL)
        _build(view)
        return attend()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _: os.kill(first, number))
    end_with_parent(signal.SIGTERM)  # not sooner: to gain rights takes it back
    close_descriptors(null)  # they are for the command, and for the one that attends it
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _leave_host(view: View, user: bool) -> None:
    ids = {"uid_map": os.geteuid(), "gid_map": os.getegid()}
    flags = _NEW_MOUNTS | _NEW_IPC | _NEW_PIDS
    flags |= (0 if view.network else _NEW_NETWORK) | (_NEW_USER if user else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    call("unshare", libc.unshare, flags)
    if user:
        _write("/proc/self/setgroups", "deny")
        for name, number in ids.items():
            _write(f"/proc/self/{name}", f"{number} {number} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _build(view: View) -> None:
    mounts = _Mounts()
    mounts.make_private()
    trees = {path: mounts.clone(path) for path, rule in view.rules if rule == "write"}
    devices = {
        name: mounts.clone(f"/dev/{name}") for name in _DEVICES if os.path.exists(f"/dev/{name}")
    }
    empty_file = mounts.clone("/dev/null")
    mounts.set_read_only(os.open("/", os.O_PATH), recursive=True)
    _make_devices(mounts, devices)
    proc = mounts.make("proc", _NO_SUID | _NO_DEVICES | _NO_EXEC)
    mounts.attach(proc, "/proc")
    for path in kernel_paths():
        mounts.attach_read_only(path)
    for path, rule in view.rules:
        if rule == "write":
            if not os.path.exists(path):  # in the new /dev
                os.makedirs(path)
            mounts.attach(trees[path], path)
        elif rule == "hide":
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
            mounts.attach(mounts.empty_folder() if is_folder else os.dup(empty_file), path)
        else:
            mounts.attach_read_only(path)
    os.close(empty_file)
    if not view.network:
        _bring_loopback_up()
    os.chdir(view.cwd)


class _Mounts:
    """The system calls that make and move mounts."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)

    def make_private(self) -> None:
        """Let no mount that is made from now on reach the host."""
        call("mount", self.libc.mount, None, b"/", None, _MS_REC | _MS_PRIVATE, None)

    def clone(self, path: str) -> int:
        """Return a copy of what is mounted at `path` and below, attached nowhere yet."""
        place = open_plain(path)
        flags = _CLONE | _CLOEXEC | _EMPTY_PATH | _RECURSIVE
        tree = call(f"open_tree({path})", self.libc.syscall, _OPEN_TREE, place, b"", flags)
        os.close(place)
        return tree

    def make(self, kind: str, attributes: int, **options: str) -> int:
        """Return a new file system, attached nowhere yet."""
        context = call(f"fsopen({kind})", self.libc.syscall, _FSOPEN, kind.encode(), 1)
        for key, value in options.items():
            name, text = key.encode(), value.encode() or None
            how = _SET_STRING if text else _SET_FLAG
            call(f"fsconfig({key})", self.libc.syscall, _FSCONFIG, context, how, name, text, 0)
        call(f"fsconfig({kind})", self.libc.syscall, _FSCONFIG, context, _CREATE, None, None, 0)
        tree = call(f"fsmount({kind})", self.libc.syscall, _FSMOUNT, context, 1, attributes)
        os.close(context)
        return tree

    def empty_folder(self) -> int:
        attributes = _READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_EXEC
        return self.make("tmpfs", attributes, mode="0555", size="4k")

    def set_read_only(self, tree: int, *, recursive: bool) -> None:
        attributes = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
        flags = _EMPTY_PATH | (_RECURSIVE if recursive else 0)
        set_attributes = self.libc.syscall, _MOUNT_SETATTR, tree, b"", flags, attributes
        call("mount_setattr", *set_attributes, len(attributes))

    def attach(self, tree: int, path: str) -> None:
        """Put a copy or a new file system at `path`, over what is there."""
        place = open_plain(path)
        flags = _FROM_EMPTY | _TO_EMPTY
        call(f"move_mount({path})", self.libc.syscall, _MOVE_MOUNT, tree, b"", place, b"", flags)
        os.close(place)
        os.close(tree)

    def attach_read_only(self, path: str) -> None:
        """Put a copy of what is at `path` over it that cannot be written."""
        tree = self.clone(path)
        self.set_read_only(tree, recursive=True)
        self.attach(tree, path)


def _make_devices(mounts: _Mounts, devices: dict[str, int]) -> None:
    """Give the command a /dev with what every program may need, and nothing else."""
    mounts.attach(mounts.make("tmpfs", _NO_SUID, mode="0755"), "/dev")
    for name, tree in devices.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mounts.attach(tree, f"/dev/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name in ("pts", "shm"):
        os.mkdir(f"/dev/{name}", 0o755)
    flags = _NO_SUID | _NO_EXEC
    terminals = mounts.make("devpts", flags, newinstance="", ptmxmode="0666", mode="0620")
    mounts.attach(terminals, "/dev/pts")
    mounts.attach(mounts.make("tmpfs", _NO_SUID | _NO_DEVICES, mode="1777"), "/dev/shm")


def _bring_loopback_up() -> None:
    import _socket
    import fcntl

    any_socket = _socket.socket(2, 2, 0)  # AF_INET, SOCK_DGRAM
    request = struct.pack("16sH22x", b"lo", 0)
    answer = fcntl.ioctl(any_socket.fileno(), _GET_FLAGS, request)
    (flags,) = struct.unpack_from("=H", answer, 16)
    fcntl.ioctl(any_socket.fileno(), _SET_FLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
    any_socket.close()
