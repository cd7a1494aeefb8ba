"""The test kit, for tests of your own agents and for examples that need no model.

    from turnlog.testing import call, scripted

    model = scripted(call("weather", {"city": "Oslo"}), "Take a coat.")
    async with turnlog.open_engine(tools=[weather], model=model) as engine: ...

A name is imported when it is first used. What draws or records sessions needs `turnlog[testing]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from turnlog.replay.testing import strategies
    from turnlog.replay.testing.cassettes import Cassette, CassetteMiss, CassetteMissing
    from turnlog.replay.testing.drawn import sessions
    from turnlog.replay.testing.driver import CoreSession
    from turnlog.replay.testing.faults import CrashRun, Scenario, crash_at, crash_everywhere
    from turnlog.replay.testing.harness import (
        PlainContext,
        ScriptedModel,
        open_test_engine,
        scripted,
    )
    from turnlog.replay.testing.machine import SessionMachine
    from turnlog.replay.testing.promises import PromiseBroken, assert_promises
    from turnlog.replay.testing.timelines import timeline
    from turnlog.replay.testing.trajectory import (
        TrajectoryError,
        Use,
        assert_always,
        assert_at_most,
        assert_before,
        assert_in_order,
        assert_never,
        assert_tools,
        uses,
    )
    from turnlog.runtime.scripted_model.script import Response, call, custom, message, reasoning

__all__ = [
    "Cassette",
    "CassetteMiss",
    "CassetteMissing",
    "CoreSession",
    "CrashRun",
    "PlainContext",
    "PromiseBroken",
    "Response",
    "Scenario",
    "ScriptedModel",
    "SessionMachine",
    "TrajectoryError",
    "Use",
    "assert_always",
    "assert_at_most",
    "assert_before",
    "assert_in_order",
    "assert_never",
    "assert_promises",
    "assert_tools",
    "call",
    "crash_at",
    "crash_everywhere",
    "custom",
    "message",
    "open_test_engine",
    "reasoning",
    "scripted",
    "sessions",
    "strategies",
    "timeline",
    "uses",
]
_OF_SCRIPTS: Final = ("Response", "call", "custom", "message", "reasoning")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "runtime.scripted_model.script" if name in _OF_SCRIPTS else "replay.testing"
    return getattr(import_module(f"turnlog.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
