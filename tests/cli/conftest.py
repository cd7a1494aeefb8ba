from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import User
from tests.replayed import replay_store


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """Yield a user with an empty home folder and an empty folder to work in."""
    user = User(tmp_path)
    user.home.mkdir()
    user.cwd.mkdir()
    yield user
    user.leave()
    replay_store(user.home / "store")
