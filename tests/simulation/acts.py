"""What happens to a simulated engine from outside: ops, watchers, disks, crashes, forks.

A new kind of act is one class here, and one line in `_DRAWN`; a new op is one line in `_OPS`.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import trio
from msgspec import Struct

from turnlog.protocol.errors import NotFound
from turnlog.protocol.ops import (
    Archive,
    Compact,
    ExecApproval,
    ImageInput,
    Interrupt,
    LocalImageInput,
    Op,
    OverrideTurnContext,
    PatchApproval,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    Shutdown,
    TextInput,
    Undo,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import OnRecovery, SettingsUpdate

if TYPE_CHECKING:
    from tests.simulation.world import World

CHILDREN: Final = 10  # from this number on, sessions are counted over children only
DiskFault = Literal["refuses", "loses", "loses but writes", "is full", "hangs"]


class _Act(Struct, frozen=True, tag=True):
    at_ms: int


class Tell(_Act, frozen=True, tag=True):
    """A client sends an op, again after every crash, until it is answered."""

    session: int  # counted over all sessions that there are by then, but children; see `CHILDREN`
    op: Op
    twice: bool = False

    async def perform(self, world: "World") -> None:
        async with trio.open_nursery() as nursery:
            op_id = world.new_op_id()
            for _ in range(2 if self.twice else 1):
                nursery.start_soon(world.submit, self.session, self.op, op_id)


class Flood(_Act, frozen=True, tag=True):
    """More ops at once than a session has room for."""

    session: int
    ops: int

    async def perform(self, world: "World") -> None:
        harmless = OverrideTurnContext(SettingsUpdate(model="flooded"))
        async with trio.open_nursery() as nursery:
            for _ in range(self.ops):
                nursery.start_soon(world.submit, self.session, harmless, world.new_op_id())


class Leave(_Act, frozen=True, tag=True):
    """Another process leaves an op in the store's inbox."""

    session: int
    op: Op

    async def perform(self, world: "World") -> None:
        await world.leave(self.session, self.op, world.new_op_id())


class Watch(_Act, frozen=True, tag=True):
    """Somebody watches a session: slowly, or not for long."""

    session: int
    from_start: bool
    capacity: int
    pace_ms: int
    most: int  # publications, after which it leaves

    async def perform(self, world: "World") -> None:
        await world.watch(self.session, self)


class Disk(_Act, frozen=True, tag=True):
    """The disk misbehaves: once at the next batch, or for a while."""

    fault: DiskFault
    ms: int = 0

    async def perform(self, world: "World") -> None:
        life = await world.alive()
        log = life.log
        match self.fault:
            case "refuses":
                log.refuse_next()
            case "loses":
                log.lose_next(written=False)
            case "loses but writes":
                log.lose_next(written=True)
            case "is full":
                log.pause()
                await trio.sleep(self.ms / 1000)
                log.resume()
            case "hangs":
                log.hold()
                await trio.sleep(self.ms / 1000)
                if log is world.log:
                    log.let_go()


class Crash(_Act, frozen=True, tag=True):
    """The engine's process dies. Another one starts later."""

    down_ms: int
    on_recovery: OnRecovery

    async def perform(self, world: "World") -> None:
        world.crash(self.down_ms, self.on_recovery)


class Fork(_Act, frozen=True, tag=True):
    """A client branches from a session at an event."""

    session: int
    at_permille: int  # of its events

    async def perform(self, world: "World") -> None:
        try:
            await world.fork(self.session, self.at_permille)
        except NotFound:  # a session that has no event yet
            return


class SetClock(_Act, frozen=True, tag=True):
    """Somebody sets the machine's clock."""

    by_ms: int

    async def perform(self, world: "World") -> None:
        world.clock.skew_us += self.by_ms * 1000


Act = Tell | Flood | Leave | Watch | Disk | Crash | Fork | SetClock

_IMAGES: Final = (ImageInput("data:,"), LocalImageInput("/a.png"))
_UPDATES: Final = (
    SettingsUpdate(),
    SettingsUpdate(),
    SettingsUpdate(model="another"),
    SettingsUpdate(approval_policy="never"),
)
# How often it is drawn, and how.
_OPS: Final[tuple[tuple[int, Callable[[Random], Op]], ...]] = (
    (8, lambda random: UserTurn((_text(random),), random.choice(_UPDATES))),
    (3, lambda random: UserInput((_text(random),))),
    (1, lambda random: UserInput((_text(random), random.choice(_IMAGES)))),
    (3, lambda random: Interrupt()),
    (1, lambda random: OverrideTurnContext(random.choice(_UPDATES))),
    (1, lambda random: Shutdown()),
    (1, lambda random: ExecApproval("nobody asked", "approved")),
    (1, lambda random: PatchApproval("nobody asked", "abort")),
    (1, lambda random: UserInput(())),
    (2, lambda random: Compact()),
    (1, lambda random: UserInput((_text(random),), queue=True)),
    (1, lambda random: UserTurn((_text(random),), final_output_json_schema={"type": "object"})),
    (2, lambda random: Review(random.choice(("look", "look", "look", " ")))),
    (2, lambda random: _undo(random)),
    (1, lambda random: Redo(force=random.random() < 0.5)),
    (2, lambda random: RunUserShellCommand(_command(random))),
    (1, lambda random: SetName(random.choice(("a name", "")))),
    (1, lambda random: Archive(random.random() < 0.5)),
)
_DRAWN: Final[tuple[tuple[int, Callable[[Random, int], Act]], ...]] = (
    (
        12,
        lambda random, at: Tell(at, _session(random), drawn_op(random), random.random() < 0.15),
    ),
    (1, lambda random, at: Flood(at, _session(random), random.choice((5, 5, 5, 90)))),
    (2, lambda random, at: Leave(at, _session(random), drawn_op(random))),
    (
        2,
        lambda random, at: Watch(
            at,
            _session(random),
            random.random() < 0.5,
            random.choice((1, 4, 256)),
            random.choice((0, 0, 3)),
            random.choice((3, 30, 10_000)),
        ),
    ),
    (3, lambda random, at: Disk(at, _fault(random), random.choice((5, 50, 300)))),
    (
        2,
        lambda random, at: Crash(
            at,
            random.choice((0, 10, 200)),
            random.choice(("continue", "continue", "interrupt", "leave")),
        ),
    ),
    (2, lambda random, at: Fork(at, _session(random), random.randrange(1001))),
    (1, lambda random, at: SetClock(at, random.choice((-5000, 60_000)))),
)


def drawn_op(random: Random) -> Op:
    return random.choices([draw for _, draw in _OPS], [often for often, _ in _OPS])[0](random)


def drawn_act(random: Random, span_ms: int) -> Act:
    """Return something that happens within `span_ms`; often close to the beginning."""
    at = random.choice((0, random.randrange(30), random.randrange(span_ms)))
    kinds, often = [draw for _, draw in _DRAWN], [often for often, _ in _DRAWN]
    return random.choices(kinds, often)[0](random, at)


def _session(random: Random) -> int:
    return random.randrange(3) + (CHILDREN if random.random() < 0.1 else 0)


def _text(random: Random) -> TextInput:
    return TextInput(f"prompt {random.randrange(1000)}")


def _undo(random: Random) -> Undo:
    return Undo(
        random.choice((1, 1, 1, 2)),
        files=random.random() < 0.8,
        conversation=random.random() < 0.8,
        force=random.random() < 0.3,
    )


def _command(random: Random) -> str:
    """Return what the user's shell does, in words that no other command has."""
    script = {
        "key": f"{random.getrandbits(32):x}",
        "ms": random.choice((0, 10, 100)),
        "end": random.choice(("done", "done", "failed", "raises", "never")),
        "writes": random.choice(("", "a")),
        "secretly": True,
    }
    return msgspec.json.encode(script).decode()


def _fault(random: Random) -> DiskFault:
    faults: tuple[DiskFault, ...] = (
        *("refuses", "loses", "loses but writes"),
        *("is full", "hangs"),
    )
    return random.choice(faults)
