"""The other ports: environment, children, files, time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    ChildAsked,
    ChildTold,
    ContextLoaded,
)
from turnlog.protocol.files import FileEdit, FileImage, FileMark, RestoredFile, TurnWork
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.ops import UserInputItem
from turnlog.protocol.settings import SessionSettings
from turnlog.protocol.usage import TokenUsage


class ContextRequest(Struct, frozen=True):
    """What a turn's context is loaded for."""

    effect: EffectId
    session: SessionId
    settings: SessionSettings
    input: tuple[UserInputItem, ...]
    asks_model: bool = True  # else no provider is needed: an undo, a redo, the user's own command


class ContextLoader(Protocol):
    """Loads what a turn starts with."""

    async def load(self, request: ContextRequest) -> ContextLoaded:
        """Read what a turn starts with: limits, tools, instructions, environment, images.

        Raises:
            TurnlogError: something that the settings name cannot be read; the turn fails with it.
        """
        ...


class Processes(Protocol):
    """The processes of this machine that tools have started."""

    async def end_left(self) -> None:
        """End what calls of dead engines have left running; return once it has ended."""
        ...


class ChildOrder(Struct, frozen=True):
    """What a child session is to do, and whose child it is."""

    parent: SessionId
    asked: ChildAsked


class ChildResult(Struct, frozen=True):
    """How a child became idle. Its own log has it."""

    status: Literal["completed", "interrupted", "failed"]
    sequence: int  # of the child's last event
    digest: str  # of that event, hex
    output: str | None = None
    usage: TokenUsage | None = None
    error: ErrorInfo | None = None


class Children(Protocol):
    """Runs sub-agents and reviews: sessions of their own, in this engine."""

    async def run(self, order: ChildOrder) -> ChildResult:
        """Make the child if it is not there, give it the prompt once, and wait until it is idle.

        When this is cancelled, the child continues: `stop` ends it.

        Raises:
            TurnlogError: the child cannot be reached.
        """
        ...

    async def stop(self, order: ChildOrder) -> ChildResult:
        """Interrupt the child, and wait until it is idle.

        Raises:
            TurnlogError: the child cannot be reached.
        """
        ...

    async def tell(self, told: ChildTold) -> None:
        """Steer a child that works. Equal op ids are told once.

        Raises:
            TurnlogError: the child cannot be reached.
        """
        ...


class ScanResult(Struct, frozen=True):
    """What was saved of a workspace."""

    files: int
    left_out: int
    why: str = ""


class RestoreRequest(Struct, frozen=True):
    """Changes of files that are to be taken back, oldest first."""

    cwd: str
    edits: tuple[FileEdit, ...]
    force: bool
    work: TurnWork = TurnWork()  # whose files no edit names


class RestoreResult(Struct, frozen=True):
    """What happened to each file, and the new images of those that were changed."""

    files: tuple[RestoredFile, ...] = ()
    left: dict[str, FileMark] = {}


Save = Callable[[Sequence[FileImage]], Awaitable[None]]


class Workspace(Protocol):
    """The files that a session works on, as undo sees them."""

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        """Save what is new or changed below `cwd` since the session's last scan, in pieces."""
        ...

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        """Bring files back. First save what they were: once `save` returns, that is safe.

        Files that someone else has changed since stay, unless `force` is set. Once the first
        file is touched, it is not cancelled any more.
        """
        ...


class Clock(Protocol):
    """The time of the events."""

    def now_us(self) -> int:
        """Return the Unix time in microseconds."""
        ...
