"""Both stores keep the port's promises."""

from pathlib import Path

import pytest

from tests.store.conformance import EventsConformance
from tests.store.conformance_sessions import SessionsConformance
from tests.store.conformance_snapshots import SnapshotsConformance
from tests.store.support import LmdbPlace, MemoryPlace


class TestMemory(EventsConformance, SessionsConformance, SnapshotsConformance):
    @pytest.fixture
    def place(self) -> MemoryPlace:
        return MemoryPlace()


class TestLmdb(EventsConformance, SessionsConformance, SnapshotsConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> LmdbPlace:
        return LmdbPlace(tmp_path / "store")
