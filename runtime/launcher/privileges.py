"""Gives up the privileges of the calling process. Source: capabilities(7), prctl(2)."""

import ctypes
import os
import struct

from .system import call

# Root's own files stay root's to write, whoever owns the workspace.
KEPT_CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4}

_SET_NO_NEW_PRIVS = 38  # sys/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def give_up() -> None:
    """Keep no capability but root's over files, and let no program give any back.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    call("prctl(PR_SET_NO_NEW_PRIVS)", libc.prctl, _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    current = ctypes.create_string_buffer(24)
    call("capget", libc.capget, header, current)
    permitted = struct.unpack("=6I", current.raw)[1]
    wanted = sum(1 << number for number in KEPT_CAPABILITIES.values())
    kept = permitted & wanted if os.geteuid() == 0 else 0
    call("capset", libc.capset, header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))
