"""The world of a simulated engine, port by port. It all runs inside the scheduler.

A port that comes later is one class here, and one line in `World.ports`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from tests.simulation.scenario import (
    CallTool,
    LeadAgent,
    Odd,
    Part,
    ReportLimits,
    Response,
    Say,
    Think,
    ToolScript,
)
from turnlog.actors.ports import (
    Batch,
    Claim,
    Completed,
    ContextRequest,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    PlanOrder,
    ReasoningDelta,
    RestoreRequest,
    RestoreResult,
    Save,
    ScanResult,
    TextDelta,
    ToolMonitor,
    ToolOrder,
    ToolResult,
)
from turnlog.actors.tasks.orders import USER_SHELL
from turnlog.protocol.calls import (
    AgentRequest,
    AwaitAgents,
    CloseAgent,
    ContextFragment,
    FileChange,
    ListAgents,
    ModelFailure,
    PatchReport,
    SpawnAgent,
    TellAgent,
    ToolPlan,
)
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.files import FileMark, RestoredFile, mark_of
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import (
    ContentPart,
    CustomToolCall,
    FunctionCall,
    JsonText,
    Message,
    Reasoning,
    ToolCallItem,
    encode_item,
    text_message,
)
from turnlog.protocol.ops import LocalImageInput, TextInput
from turnlog.protocol.settings import (
    CompactionLimits,
    RetryLimits,
    SessionSettings,
    TurnSettings,
    UnansweredPolicy,
)
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.runtime.store.memory.log import MemoryLog
from turnlog.runtime.store.waiting import PendingTicket

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.simulation.world import World

START_US: Final = 1_700_000_000_000_000
SUM_UP: Final = "sum it up"
AGENT: Final = "agent"  # the tool that leads agents
Emit = Callable[[ModelSignal], Awaitable[None]]


@attrs.define(eq=False)
class Busy:
    """How much is being done in the world for each session, right now."""

    now: Counter[str] = attrs.field(factory=Counter[str])

    @contextmanager
    def with_one_more(self, session: str) -> "Generator[None]":
        self.now[session] += 1
        try:
            yield
        finally:
            self.now[session] -= 1


@attrs.define(eq=False)
class SimClock:
    """A `Clock` that follows the simulated time, and may be set."""

    skew_us: int = 0

    def now_us(self) -> int:
        return START_US + self.skew_us + round(trio.current_time() * 1_000_000)


@attrs.define(eq=False)
class SimModel:
    """A `ModelClient` that follows the scenario, one response an attempt."""

    world: "World"
    attempts: int = 0

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        self.world.auditor.model_asked(request)
        with self.world.busy.with_one_more(request.session):
            self.attempts += 1
            is_summary = request.input[-1:] == (text_message("user", SUM_UP),)
            response = self.world.next_summary() if is_summary else self.world.next_response()
            name = f"r{self.attempts}"
            for number, part in enumerate(response.parts):
                await trio.sleep(response.pace_ms / 1000)
                await self._emit(part, f"{name}:{number}", emit, request.session)
            tokens = sum(map(len, request.input)) // 4
            await self._end(response, name, emit, tokens)

    async def _emit(self, part: Part, name: str, emit: Emit, session: SessionId) -> None:
        match part:
            case Say(text=text):
                await emit(TextDelta(text))
                said = [ContentPart("output_text", text=f"{text} <{name}>")]
                await emit(ItemDone(encode_item(Message("assistant", said, name))))
            case Think():
                await emit(ReasoningDelta("hm"))
                await emit(ItemDone(encode_item(Reasoning(name, encrypted_content="sealed"))))
            case CallTool():
                await emit(ItemDone(_call(part, name)))
            case LeadAgent():
                agents = tuple(self.world.auditor.shadows[session].state.agents) or ("nobody",)
                await emit(ItemDone(_lead(part, name, agents)))
            case ReportLimits():
                await emit(LimitsReported(RateLimits(RateLimitWindow(50))))
            case Odd(item_json=text):
                await emit(ItemDone(text.replace("ID", name)))

    async def _end(self, response: Response, name: str, emit: Emit, tokens: int) -> None:
        if response.unfinished:
            await emit(TextDelta(response.unfinished))
        match response.end:
            case "completed":
                await emit(Completed(name, TokenUsage(tokens, 0, 0, 5)))
            case "silence":
                return
            case "raises":
                raise RuntimeError("the client has a defect")
            case "never":
                await trio.sleep_forever()
            case ModelFailure() as failure:
                raise ModelCallFailed(failure)


def _call(part: CallTool, name: str) -> JsonText:
    script = msgspec.json.encode(part.script).decode()
    call_id = f"call {name}"
    if part.custom:
        return encode_item(CustomToolCall(call_id, "custom", script, name))
    return encode_item(FunctionCall(call_id, "function", script, name))


def _lead(part: LeadAgent, name: str, agents: tuple[str, ...]) -> JsonText:
    which = agents[part.which % len(agents)]
    request: AgentRequest
    match part.deed:
        case "spawn":
            request = SpawnAgent(f"do {name}", model="another" if part.which else None)
        case "tell":
            request = TellAgent(which, f"also do {name}", part.interrupt)
        case "await":
            request = AwaitAgents(agents[part.which % len(agents) :], part.timeout_ms)
        case "close":
            request = CloseAgent(which)
        case "list":
            request = ListAgents()
    return encode_item(
        FunctionCall(f"call {name}", AGENT, msgspec.json.encode(request).decode(), name)
    )


def _script(call: ToolCallItem) -> ToolScript:
    text = call.arguments if isinstance(call, FunctionCall) else call.input
    if call.name == USER_SHELL:
        text = msgspec.json.decode(text, type=dict[str, str])["cmd"]
    return msgspec.json.decode(text, type=ToolScript)


@attrs.define(eq=False)
class SimTools:
    """`Tools` that do what a call's arguments say."""

    world: "World"

    def specs(self, settings: SessionSettings) -> JsonText:
        return "[]"

    async def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        await trio.lowlevel.checkpoint()
        if isinstance(call, FunctionCall) and call.name == AGENT:
            request = msgspec.json.decode(call.arguments, type=AgentRequest)
            return ToolPlan(AGENT, agent=request)
        script = _script(call)
        return ToolPlan(
            call.name,
            parallel=script.overlaps,
            wants="outside" if script.outside else "inside",
            approval_key=script.key,
            refusal=script.refusal,
        )

    async def plan_again(self, order: PlanOrder) -> ToolPlan:
        return await self.plan(order.call, order.settings)

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        call_id, script = order.call.call_id, _script(order.call)
        session = self.world.auditor.tool_runs(order)
        end = "done" if self.world.calm else script.end
        with self.world.busy.with_one_more(session):
            if script.announces:
                await monitor.started()
                self.world.auditor.touched.add(call_id)
            monitor.output("running")
            if script.denied and order.dispatched.sandbox.mode != "danger-full-access":
                return ToolResult("failed", f"{call_id}\n", "not in here", denial="not in here")
            report = await self._write(script, session, monitor) if script.writes else None
            try:
                await trio.sleep(script.ms / 1000)
                if end == "never":
                    await trio.sleep_forever()
            except trio.Cancelled:
                if script.has_last_words:
                    monitor.stopped(ToolResult("cancelled", f"{call_id}\n", "stopped"))
                raise
            if end == "raises":
                raise RuntimeError("the tool has a defect")
            return ToolResult(end, f"{call_id}\n", "x" * script.size, report=report)

    async def _write(
        self, script: ToolScript, session: SessionId, monitor: ToolMonitor
    ) -> PatchReport | None:
        files, path = self.world.files, f"/{script.writes}"
        if script.secretly:
            files.write(path)
            return None
        await monitor.saved([files.image(path)])
        self.world.auditor.files_change(session, monitor.effect)
        files.write(path)
        return PatchReport((FileChange(path, "update"),), True, (files.image(path),))


@attrs.define(eq=False)
class SimContext:
    """A `ContextLoader` that tells little, and cannot read images until all is calm."""

    world: "World"

    async def load(self, request: ContextRequest) -> ContextLoaded:
        await trio.lowlevel.checkpoint()
        around = self.world.scenario.around
        is_image = [isinstance(item, LocalImageInput) for item in request.input]
        if any(is_image) and not self.world.calm:
            raise UsageError(ErrorCode.INPUT_UNREADABLE, "there is no such image")
        text = " ".join(item.text for item in request.input if isinstance(item, TextInput))
        limits = RetryLimits(around.request_retries, around.stream_retries, base_delay_ms=10)
        return ContextLoaded(
            request.effect,
            TurnSettings(
                request.settings,
                limits,
                context_window=_window(around.window, request.settings.model),
                approval_timeout_ms=around.approval_timeout_ms,
                unanswered=UnansweredPolicy(around.unanswered, around.unanswered),
                compaction=CompactionLimits(around.compact_at, user_tokens=50, prompt=SUM_UP),
            ),
            "[]",
            (ContextFragment("environment", "user", f"model {request.settings.model}"),),
            text_message("user", text),
        )


def _window(tokens: int | None, model: str) -> int | None:
    return tokens // 2 if tokens is not None and model == "another" else tokens


@attrs.define(eq=False)
class SimWorkspace:
    """A `Workspace` over the files that the tools of this world write."""

    world: "World"
    seen: dict[SessionId, dict[str, FileMark]] = attrs.field(
        factory=dict[SessionId, dict[str, FileMark]]
    )

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        with self.world.busy.with_one_more(session):
            images, seen = self.world.files.images(), self.seen.setdefault(session, {})
            new = [image for image in images if seen.get(image.path) != mark_of(image)]
            for image in new:
                await save([image])
                await trio.sleep(0.001)
            seen.update((image.path, mark_of(image)) for image in new)
            return ScanResult(len(new), 0)

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        await trio.sleep(0.001)
        files = self.world.files
        plan = files.plan(request.edits, force=request.force)
        conflicts = {path for path, image in plan.items() if image is None}
        if conflicts:
            return RestoreResult(
                tuple(RestoredFile(path, "conflict", "it was changed") for path in conflicts)
            )
        await save([files.image(path) for path in plan])
        with trio.CancelScope(shield=True):
            await trio.sleep(0.002)
        restored = [files.put(image) for image in plan.values() if image is not None]
        return RestoreResult(tuple(restored), {path: mark_of(files.image(path)) for path in plan})


@attrs.define(eq=False)
class SimLog(MemoryLog):
    """A log on a disk that takes its time, and whose every step is looked at."""

    world: "World" = attrs.field(kw_only=True)
    latency_ms: int = 0
    random: Random = attrs.field(kw_only=True)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def append(self, session: SessionId, batch: Batch, *, fence: int) -> PendingTicket:
        if self._alive:
            self.world.auditor.appended(session, batch)
        return super().append(session, batch, fence=fence)

    async def create(self, session: SessionId) -> Claim:
        return self._claimed(await super().create(session))

    async def claim(self, session: SessionId) -> Claim:
        return self._claimed(await super().claim(session))

    def _claimed(self, claim: Claim) -> Claim:
        self.world.auditor.claimed(claim.session)
        return claim

    def pause(self, why: str = "no space left on the device") -> None:
        if self._paused is None:  # it cannot get fuller
            super().pause(why)

    def calm(self) -> None:
        """Be a good disk from now on."""
        self._faults.clear()
        self.latency_ms = 0
        if self._paused is not None:
            self.resume()
        self.let_go()

    def _schedule(self) -> None:
        self._wanted.set()

    async def spin(self) -> None:
        """Commit what is queued, each time after a while."""
        with self.world.checking():
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                if self.latency_ms:
                    await trio.sleep(self.random.randint(0, self.latency_ms) / 1000)
                else:
                    await trio.lowlevel.checkpoint()
                self._commit()
