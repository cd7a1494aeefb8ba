"""What commands print with `--json`."""

import sys

from turnlog.protocol.json_text import json_line


def print_json(value: object) -> None:
    """Print `value` on stdout as one line of JSON, in any encoding of its strings.

    Raises:
        NobodyReads, UsageError: stdout takes nothing more.
    """
    sys.stdout.buffer.write(json_line(value))
    sys.stdout.buffer.flush()
