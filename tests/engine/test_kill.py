"""kill -9 at random moments of a turn: nothing that was acknowledged is lost, nothing runs twice.

TURNLOG_KILLS sets how often; `python -m tests.engine.kill_many` does it 200 times and sums up.
"""

import os
from pathlib import Path
from random import Random

import pytest

from tests.engine.killing import kill_once

KILLS = int(os.environ.get("TURNLOG_KILLS", "12"))


@pytest.mark.parametrize("number", range(KILLS))
async def test_a_killed_session_keeps_what_it_told_and_continues(
    number: int, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")  # shown when it fails
    await kill_once(tmp_path, Random(seed))
