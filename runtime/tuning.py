"""Settings of the whole process, for programs that are turnlog. A library must not choose them."""

import gc
import sys


def tune_process() -> None:
    """Make this process a good host for an engine.

    Events are many and acyclic, so that collecting early finds nothing: rebuilding a long session
    takes half the time. And the log's writer must not wait 5 ms for a busy loop's turn to end.

    Source: measured; see `make bench`.
    """
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.0002)  # seconds
