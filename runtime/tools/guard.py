"""Checks everything a tool does: an error of a tool fails its call, and never the turn."""

from collections.abc import Coroutine, Sequence
from typing import Final, Protocol, cast

import attrs
from msgspec import structs

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.checking import Argument
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.files import FileImage
from turnlog.protocol.ids import EffectId
from turnlog.protocol.images import MAX_IMAGE_BYTES, URL_BEGINNINGS
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.engine.warn import Warn
from turnlog.runtime.processes.output import (
    BYTES_PER_TOKEN,
    OUTPUT_LIMIT,
    HeadTailBuffer,
    decode_output,
    truncate_for_model,
)
from turnlog.runtime.tools.faults import described, fault, storable, traceback_of
from turnlog.runtime.tools.tool import CallRefused

_PLAN: Final = Argument[ToolPlan](ToolPlan)
_RESULT: Final = Argument[ToolResult](ToolResult)
_TEXT: Final = Argument[str](str)
_LONGEST_PREAMBLE: Final = 4096  # bytes; what is longer is output, too
_SHOWN: Final = 60  # characters of a wrong URL
_MARKS: Final = 1024  # bytes that a tool which cuts its output itself may add to say so
_NOT_STARTED: Final = (
    "the tool {name} did not await monitor.started() before it began. Were the engine to end "
    "meanwhile, the model would be told that nobody knows whether the call has run."
)


class Planner(Protocol):
    """Plans a call: a tool, or something that the session does itself."""

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan: ...


class Runner(Protocol):
    """Runs a call."""

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult: ...


@attrs.define(eq=False)
class Guard:
    """Is between the engine and one tool, and checks what passes.

    Args:
        name: under which the tool is registered.
        warn: is told of each fault, with its traceback.
    """

    name: str
    tool: Planner
    warn: Warn
    _has_warned: bool = attrs.field(default=False, init=False)  # that it does not say it starts

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        """Return the tool's plan of a call; a refusal if the tool fails to make one."""
        budget = settings.tool_output_tokens
        try:
            plan: object = self.tool.plan(call, settings)
            if isinstance(plan, Coroutine):
                plan.close()
                raise UsageError(
                    ErrorCode.ARGUMENT_INVALID, "plan must be a plain function, not `async def`"
                )
            checked = _PLAN.take("its plan", plan)
        except CallRefused as refused:
            return refusal(self.name, storable(str(refused)), budget)
        except UsageError as error:
            return refusal(self.name, self._blame(str(error)), budget)
        except BaseException as error:
            if (wrong := fault(error)) is None:
                raise
            trace = traceback_of(wrong)
            plan = refusal(self.name, self._blame(described(wrong), trace), budget)
            return structs.replace(plan, traceback=trace)
        for field in ("refusal", "denial"):
            if (text := getattr(checked, field)) is not None:
                checked = structs.replace(checked, **{field: truncate_for_model(text, budget)})
        return checked

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        """Run a call to its end, as `Tools.run` says. No error of the tool is raised."""
        budget = order.settings.tool_output_tokens
        watched = _WatchedMonitor(monitor, budget)
        try:
            result: object = await cast("Runner", self.tool).run(order, watched)
        except BaseException as error:
            if (wrong := fault(error)) is None:
                raise
            trace = traceback_of(wrong)
            failed = ToolResult("failed", "", self._blame(described(wrong), trace), traceback=trace)
            return bounded(failed, budget)
        try:
            checked = _checked("its result", result)
        except UsageError as error:
            return bounded(ToolResult("failed", "", self._blame(str(error))), budget)
        if checked.outcome == "done" and not watched.has_started and not self._has_warned:
            self._has_warned = True
            self.warn(_NOT_STARTED.format(name=self.name))
        return bounded(checked, budget)

    def _blame(self, what: str, trace: str = "") -> str:
        """Warn about a fault; return the text that the model gets."""
        text = f"{self.name} failed: {what}"
        self.warn(f"the tool {text}\n{trace}".rstrip())
        return text


@attrs.define(eq=False)
class _WatchedMonitor:
    """The monitor that a tool is given. A wrong use of it is an error of the tool."""

    inner: ToolMonitor
    budget: int  # tokens
    has_started: bool = False

    @property
    def effect(self) -> EffectId:
        return self.inner.effect

    async def started(self) -> None:
        self.has_started = True
        await self.inner.started()

    async def saved(self, files: Sequence[FileImage]) -> None:
        await self.inner.saved(files)

    def output(self, text: str) -> None:
        self.inner.output(_TEXT.take("output", text))

    def stopped(self, result: ToolResult) -> None:
        self.inner.stopped(bounded(_checked("result", result), self.budget))


def _checked(name: str, result: object) -> ToolResult:
    """Return a result that can be stored and shown to a model.

    Raises:
        UsageError: it is none. The text names the place and what is allowed.
    """
    checked = _RESULT.take(name, result)
    for index, image in enumerate(checked.images):
        if not image.url.startswith(URL_BEGINNINGS):
            raise UsageError(
                ErrorCode.ARGUMENT_INVALID,
                f"{name}.images[{index}].url: {image.url[:_SHOWN]!r} is not allowed; use an "
                "https:, http: or data:image/ URL, or turnlog.Image.of(data)",
            )
    size = sum(len(image.url) for image in checked.images) * 3 // 4  # of base64
    if size > MAX_IMAGE_BYTES:
        raise UsageError(
            ErrorCode.ARGUMENT_INVALID,
            f"{name}.images: {size} bytes are not allowed; all of them may have {MAX_IMAGE_BYTES}",
        )
    return checked


def refusal(name: str, text: str, budget: int) -> ToolPlan:
    """Return the plan of a call that is answered at once, with a text that the model can take."""
    return ToolPlan(name, parallel=True, refusal=truncate_for_model(text, budget))


def bounded(result: ToolResult, budget: int) -> ToolResult:
    """Return a result that the model can take, cut as the output of a command is.

    Args:
        budget: tokens that may be shown. A tool that cuts its output itself says so by
            `full_output`, and may add a few words.
    """
    preamble, output, full = result.preamble, result.output, result.full_output
    if len(preamble.encode()) > _LONGEST_PREAMBLE:
        preamble, output = "", preamble + output
    allowed = budget * BYTES_PER_TOKEN + (_MARKS if full is not None else 0)
    if len(output.encode()) > allowed:
        full = output if full is None else full
        output = truncate_for_model(output, budget)
    return structs.replace(result, preamble=preamble, output=output, full_output=_kept(full))


def _kept(full: str | None) -> str | None:
    if full is None or len(full.encode()) <= OUTPUT_LIMIT + _MARKS:
        return full
    buffer = HeadTailBuffer()
    buffer.append(full.encode())
    return decode_output(buffer.value())
