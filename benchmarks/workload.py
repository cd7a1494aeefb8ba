"""A session as it comes from work: prompts, reasoning, commands and their output, answers.

Made by the real core from made-up facts, so the log holds what a real one holds: 37 events a
turn, four commands in each, one output in twenty above 4 KiB. The same seed gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import attrs
from measure import pages

from turnlog.actors.core.rules import RULES
from turnlog.actors.core.session import step
from turnlog.actors.core.state import State
from turnlog.actors.ports import Batch, EventLog, Stored
from turnlog.actors.stored_state.snapshots import SnapshotKeeper
from turnlog.protocol.calls import CommandPreview, CommandReport, ContextFragment, ToolPlan
from turnlog.protocol.envelope import EncodedEvent, Record, encode_event, seal
from turnlog.protocol.events import (
    ContextLoaded,
    Decision,
    ModelCompleted,
    ModelItemReceived,
    OpReceived,
    SessionEvent,
    SessionFact,
    SessionOpened,
    SessionStarted,
    ToolFinished,
    ToolStarted,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.items import (
    ContentPart,
    FunctionCall,
    Message,
    Reasoning,
    encode_item,
    text_message,
)
from turnlog.protocol.ops import Compact, prompt
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.engine.new_id import new_id

SETTINGS: Final = SessionSettings(cwd="/home/me/project", model="gpt-5.5", approval_policy="never")
START_US: Final = 1_750_000_000_000_000
CALLS: Final = 4  # in each turn
_WORDS: Final = (
    *("def", "return", "import", "class", "self", "value", "result", "error", "path", "file"),
    *("test", "assert", "open", "read", "write", "line", "number", "range", "list", "index"),
    *("state", "event", "session", "turn", "model", "tool", "call", "output", "input", "time"),
)


def _source_text() -> str:
    return " ".join(Random(0).choices(_WORDS, k=1 << 17))


_TEXT: Final = _source_text()


def text(random: Random, length: int) -> str:
    """Return `length` characters that compress about as source text does."""
    begin = random.randrange(len(_TEXT) - length)
    return _TEXT[begin : begin + length]


@attrs.define
class Work:
    """One session at work. `steps` gives its batches, as its actor would append them."""

    session: SessionId = attrs.field(factory=lambda: SessionId(new_id()))
    seed: int = 0
    compacts_every: int = 0  # turns; 0: never
    state: State = attrs.field(factory=State, init=False)
    events: list[SessionEvent] = attrs.field(factory=list[SessionEvent], init=False)
    _random: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)

    def steps(self, events: int) -> Iterator[Batch]:
        """Yield batches until there are at least `events` events, and the turn in hand is over."""
        yield self._send(SessionStarted(self.session, SETTINGS, "benchmark", "0"))
        yield self._send(SessionOpened(1, "benchmark", "0", rules=RULES))
        while self.state.head < events:
            yield from self.turn()
            if self.compacts_every and self.state.turns % self.compacts_every == 0:
                yield from self._compaction()

    def _compaction(self) -> Iterator[Batch]:
        yield self._send(OpReceived(new_id(), Compact()))
        yield self._send(self._context())
        summary = Message("assistant", [ContentPart("output_text", text=text(self._random, 4000))])
        yield self._item(encode_item(summary))
        yield self._send(ModelCompleted(self._open(), "resp", TokenUsage(9000, 8000, 0, 200)))

    def turn(self) -> Iterator[Batch]:
        """Yield the batches of one more turn."""
        random = self._random
        yield self._send(OpReceived(new_id(), prompt(text(random, 120))))
        yield self._send(self._context())
        for number in range(CALLS):
            thought = Reasoning(f"rs_{number}", encrypted_content=text(random, 300))
            yield self._item(encode_item(thought))
            yield self._call(number)
            yield self._send(ModelCompleted(self._open(), "resp", TokenUsage(9000, 8000, 0, 200)))
            yield self._send(ToolStarted(self._open()))
            yield self._send(self._output())
        answer = Message("assistant", [ContentPart("output_text", text=text(random, 600))], "msg")
        yield self._item(encode_item(answer))
        yield self._send(ModelCompleted(self._open(), "resp", TokenUsage(9000, 8000, 0, 200)))

    def _open(self) -> EffectId:
        return next(iter(self.state.outstanding))

    def _context(self) -> ContextLoaded:
        return ContextLoaded(
            self._open(),
            TurnSettings(SETTINGS),
            f'["{"x" * 6000}"]',
            (
                ContextFragment("permissions", "developer", "y" * 900),
                ContextFragment("environment", "user", "z" * 400),
            ),
            text_message("user", text(self._random, 120)),
        )

    def _item(self, item_json: str, plan: ToolPlan | None = None) -> Batch:
        return self._send(ModelItemReceived(self._open(), item_json, plan))

    def _call(self, number: int) -> Batch:
        command = f"sed -n '1,80p' src/{number}.py"
        call = FunctionCall(f"call_{new_id()}", "exec_command", f'{{"cmd": "{command}"}}', "fc")
        preview = CommandPreview(("bash", "-lc", command), SETTINGS.cwd)
        return self._item(
            encode_item(call), ToolPlan("exec_command", parallel=True, preview=preview)
        )

    def _output(self) -> ToolFinished:
        random = self._random
        length = 10_000 if random.random() < 0.05 else random.randrange(50, 1500)
        return ToolFinished(
            self._open(),
            "done",
            "Exit code: 0\nWall time: 0.1 seconds\nOutput:\n",
            text(random, length),
            report=CommandReport(0, 100),
        )

    def _send(self, fact: SessionFact) -> Batch:
        state, summary, first = self.state, self.state.summary, self.state.head + 1
        turn = state.turn.number if state.turn else 0
        events = step(state, fact, time_us=START_US + first * 10_000)
        records = list[Record]()
        for sequence, event in enumerate(events, first):
            record = seal_next(state, event, sequence, first, turn)
            state.digest = record.digest
            records.append(record)
        self.events += events
        return Batch(tuple(records), None if state.summary is summary else state.summary)


def seal_next(state: State, event: SessionEvent, sequence: int, first: int, turn: int) -> Record:
    return seal(
        event,
        sequence=sequence,
        time_us=state.time_us,
        cause=first if isinstance(event, Decision) else 0,
        turn=turn,
        previous=state.digest,
    )


async def store(log: EventLog, batches: Sequence[Batch], session: SessionId) -> None:
    """Write a session, and let it go."""
    claim = await log.create(session)
    for page in pages(batches, 256):
        tickets = [log.append(session, batch, fence=claim.fence) for batch in page]
        assert isinstance(await tickets[-1].settled(), Stored)
    await log.release(claim)


async def write_as_lived(log: EventLog, work: Work, events: int) -> None:
    """Write a session as its actor does: with a snapshot wherever one is due."""
    claim = await log.create(work.session)
    keeper = SnapshotKeeper(log, work.session)
    for batch in work.steps(events):
        log.append(work.session, batch, fence=claim.fence)
        keeper.take(work.state, fence=claim.fence)
        await log.room()
    keeper.take(work.state, fence=claim.fence, closing=True)
    await log.release(claim)


def payload(batches: Sequence[Batch]) -> int:
    """Return how many bytes of envelopes `batches` hold, and of each blob once."""
    blobs: dict[bytes, bytes] = {}
    size = 0
    for batch in batches:
        for record in batch.records:
            size += len(record.data)
            blobs.update(record.blobs)
    return size + sum(map(len, blobs.values()))


@attrs.define
class Appender:
    """Gives a session's next batch of one event, whose envelope has about `size` bytes."""

    size: int
    sequence: int = 0
    digest: bytes = bytes(16)
    _event: ToolFinished = attrs.field(init=False)
    _encoded: EncodedEvent = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        output = text(Random(0), max(1, self.size - 50))
        self._event = ToolFinished(EffectId("1.tool.0"), "done", "", output)
        self._encoded = encode_event(self._event)

    def next(self) -> Batch:
        self.sequence += 1
        record = seal(
            self._event,
            sequence=self.sequence,
            time_us=START_US,
            cause=0,
            turn=1,
            previous=self.digest,
            encoded=self._encoded,
        )
        self.digest = record.digest
        return Batch((record,))
