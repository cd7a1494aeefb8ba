"""Which files of /proc belong to the kernel: root may write those whatever its capabilities are.

A command of root that could write `/proc/sys/kernel/core_pattern` would choose a program that
the kernel runs outside of every sandbox. A process's own folder stays as it is: it holds only
what the process may change of itself. Source: proc(5), core(5).
"""

import os
import stat

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def kernel_paths() -> list[str]:
    """Return the paths of /proc that hold what can be written and belongs to no process."""
    with os.scandir("/proc") as entries:
        found = [entry.path for entry in entries if _is_kernels(entry)]
    return sorted(found)


def _is_kernels(entry: "os.DirEntry[str]") -> bool:
    if entry.name.isdigit() or entry.is_symlink():
        return False
    return entry.is_dir() or bool(entry.stat().st_mode & _WRITABLE)
