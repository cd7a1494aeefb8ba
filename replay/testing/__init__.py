"""The test kit: for those who build agents of their own on turnlog.

What is here is imported when it is asked for: a plugin of pytest is in this package, too,
and is loaded in every run of pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from turnlog.replay.testing import strategies as strategies
    from turnlog.replay.testing.cassettes import Cassette as Cassette
    from turnlog.replay.testing.cassettes import CassetteMiss as CassetteMiss
    from turnlog.replay.testing.cassettes import CassetteMissing as CassetteMissing
    from turnlog.replay.testing.drawn import sessions as sessions
    from turnlog.replay.testing.driver import CoreSession as CoreSession
    from turnlog.replay.testing.faults import CrashRun as CrashRun
    from turnlog.replay.testing.faults import Scenario as Scenario
    from turnlog.replay.testing.faults import crash_at as crash_at
    from turnlog.replay.testing.faults import crash_everywhere as crash_everywhere
    from turnlog.replay.testing.harness import PlainContext as PlainContext
    from turnlog.replay.testing.harness import ScriptedModel as ScriptedModel
    from turnlog.replay.testing.harness import open_test_engine as open_test_engine
    from turnlog.replay.testing.harness import scripted as scripted
    from turnlog.replay.testing.machine import SessionMachine as SessionMachine
    from turnlog.replay.testing.promises import PromiseBroken as PromiseBroken
    from turnlog.replay.testing.promises import assert_promises as assert_promises
    from turnlog.replay.testing.timelines import timeline as timeline
    from turnlog.replay.testing.trajectory import TrajectoryError as TrajectoryError
    from turnlog.replay.testing.trajectory import Use as Use
    from turnlog.replay.testing.trajectory import assert_always as assert_always
    from turnlog.replay.testing.trajectory import assert_at_most as assert_at_most
    from turnlog.replay.testing.trajectory import assert_before as assert_before
    from turnlog.replay.testing.trajectory import assert_in_order as assert_in_order
    from turnlog.replay.testing.trajectory import assert_never as assert_never
    from turnlog.replay.testing.trajectory import assert_tools as assert_tools
    from turnlog.replay.testing.trajectory import uses as uses

_HOMES: Final = {
    "cassettes": ("Cassette", "CassetteMiss", "CassetteMissing"),
    "drawn": ("sessions",),
    "driver": ("CoreSession",),
    "faults": ("CrashRun", "Scenario", "crash_at", "crash_everywhere"),
    "harness": ("PlainContext", "ScriptedModel", "open_test_engine", "scripted"),
    "machine": ("SessionMachine",),
    "promises": ("PromiseBroken", "assert_promises"),
    "timelines": ("timeline",),
    "trajectory": (
        *("TrajectoryError", "Use", "assert_always", "assert_at_most", "assert_before"),
        *("assert_in_order", "assert_never", "assert_tools", "uses"),
    ),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "strategies":
        return import_module(f"{__name__}.strategies")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
