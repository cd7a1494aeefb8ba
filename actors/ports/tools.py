"""The port of the tools."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, structs

from turnlog.protocol.calls import ToolOutcome, ToolPlan, ToolReport
from turnlog.protocol.events import (
    ToolDispatched,
    ToolFinished,
)
from turnlog.protocol.files import FileImage
from turnlog.protocol.ids import EffectId
from turnlog.protocol.images import Image
from turnlog.protocol.items import JsonText, ToolCallItem
from turnlog.protocol.settings import SessionSettings, TurnSettings


class ToolOrder(Struct, frozen=True):
    """One tool call, ready to run."""

    call: ToolCallItem
    plan: ToolPlan
    dispatched: ToolDispatched
    settings: TurnSettings


class PlanOrder(Struct, frozen=True):
    """A call that has to be planned again."""

    effect: EffectId
    call: ToolCallItem
    settings: TurnSettings
    plan: ToolPlan | None = None  # as it was allowed; None: the earlier plan does not count


class ToolResult(Struct, frozen=True):
    """What a tool returns. The model sees `preamble` and `output`, joined, then the images."""

    outcome: ToolOutcome
    preamble: str
    output: str
    full_output: str | None = None  # where `output` was cut
    report: ToolReport | None = None
    denial: str | None = None  # the word by which the sandbox seems to have stopped it
    traceback: str | None = None  # of the error that the tool raised: for people, not the model
    images: tuple[Image, ...] = ()  # 20 MiB of `data:` URLs at most, together

    @classmethod
    def of(cls, fact: ToolFinished) -> "ToolResult":
        """Return the result that a fact reports."""
        return cls(**{name: getattr(fact, name) for name in cls.__struct_fields__})

    def fact(self, effect: EffectId) -> ToolFinished:
        """Return the fact that reports this."""
        return ToolFinished(effect, **structs.asdict(self))


class ToolMonitor(Protocol):
    """What a running tool reports to: the task of its call."""

    @property
    def effect(self) -> EffectId:
        """The effect that this call closes."""
        ...

    async def started(self) -> None:
        """Say that the world is about to be touched. Await it before doing so."""
        ...

    async def saved(self, files: Sequence[FileImage]) -> None:
        """Save what files are before they are changed, so that an undo can bring them back.

        Returns once this is on disk. Change nothing before that.
        """
        ...

    def output(self, text: str) -> None:
        """Show a piece of output to those who watch. Never waits; may be dropped."""
        ...

    def stopped(self, result: ToolResult) -> None:
        """Give the result of a cancelled call, before `Cancelled` is raised further."""
        ...


class Tools(Protocol):
    """The registry: the specifications that the model is shown, and the tools."""

    def specs(self, settings: SessionSettings) -> JsonText:
        """Return the list of tool specifications for this model, in a fixed order."""
        ...

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        """Say what a call would do, without changing the world. Bad calls get a refusal."""
        ...

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        """Plan a call that was planned before, as things are now: equal plans are the same call."""
        ...

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        """Run a call to its end. On return, also after a cancel, no process of it is left."""
        ...
