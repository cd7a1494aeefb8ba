"""Apply the patch on standard input. Nothing in a hidden folder is read.

    python -I -X utf8 -m turnlog.runtime.patch --cwd DIR [--hidden DIR]...

Exit status 0 and the summary on standard output; 1 and the error on standard error; 2 for a wrong
command line. Runs confined, so that the kernel judges each write.
"""

import os
import sys

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import TurnlogError, UsageError
from turnlog.runtime.patch.apply import plan_patch
from turnlog.runtime.patch.parse import MAX_PATCH_BYTES, parse_patch
from turnlog.runtime.sandbox.guard import ReadGuard


def main(arguments: list[str]) -> int:
    """Apply the patch on standard input; return the exit status."""
    names, paths = arguments[::2], arguments[1::2]
    wanted = ["--cwd", *["--hidden"] * (len(paths) - 1)]
    if names != wanted or len(paths) != len(names) or not all(map(os.path.isabs, paths)):
        usage = "python -m turnlog.runtime.patch --cwd DIR [--hidden DIR]... < PATCH"
        return _fail(f"usage: {usage} (each DIR absolute)", 2)
    try:
        patch = parse_patch(_standard_input())
        summary = plan_patch(patch, paths[0], ReadGuard(paths[1:])).apply().summary
    except TurnlogError as error:
        return _fail(str(error), 1)
    sys.stdout.buffer.write(summary.encode())
    return 0


def _standard_input() -> str:
    data = sys.stdin.buffer.read(MAX_PATCH_BYTES + 1)
    if len(data) > MAX_PATCH_BYTES:
        raise UsageError(
            ErrorCode.PATCH_INVALID, f"the patch has more than {MAX_PATCH_BYTES} bytes. Split it."
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            ErrorCode.PATCH_INVALID, f"the patch is not UTF-8 at byte {error.start}."
        ) from None


def _fail(text: str, status: int) -> int:
    sys.stderr.buffer.write(f"{text}\n".encode(errors="backslashreplace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
