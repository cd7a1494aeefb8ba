"""Whatever is done to them, in whatever order, the two stores tell the same."""

import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from tests.store.support import LmdbPlace, MemoryPlace, Place, Stream, op
from turnlog.actors.ports import Claim, EventLog, Head
from turnlog.protocol.errors import Busy, NotFound, TurnlogError
from turnlog.protocol.ids import SessionId
from turnlog.protocol.summary import SessionSummary
from turnlog.runtime.store.lmdb.doctor import examine, repair
from turnlog.runtime.store.lmdb.log import LmdbLog

T = TypeVar("T")

MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # durability is not tested here
LARGE = "large " * 1000
PICK = st.integers(0, 7)
TEXTS = st.lists(st.sampled_from(["", "a", "ü", LARGE]), min_size=1, max_size=4)


class TrioThread:
    """A trio loop for callers that are not asynchronous."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        self._ready.set()
        await self._over.wait()

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(call, trio_token=self._token)

    def close(self) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()


@attrs.define
class Opened:
    """One of the stores, and the log that is open on it."""

    place: Place
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    _log: EventLog | None = None

    @property
    def log(self) -> EventLog:
        assert self._log is not None
        return self._log

    async def reopen(self) -> None:
        await self.stack.aclose()
        self._log = await self.stack.enter_async_context(self.place.open())


class StoreMachine(RuleBasedStateMachine):
    """Does everything to LMDB and to its twin in memory, and compares all that they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="turnlog-machine-", dir=MEMORY_DISK))
        self.loop = TrioThread()
        self.twins = [Opened(LmdbPlace(self.folder)), Opened(MemoryPlace())]
        self.sessions: list[SessionId] = []
        self.fences: dict[SessionId, int] = {}
        self.reopen()

    def teardown(self) -> None:
        findings = examine(self.lmdb.environment).findings
        for twin in self.twins:
            self.loop.run(twin.stack.aclose)
        self.loop.close()
        shutil.rmtree(self.folder)
        assert findings == ()

    def both(self, ask: Callable[[EventLog], Awaitable[object]]) -> object:
        """Ask both stores; return what they agree on."""

        async def outcomes() -> list[object]:
            found: list[object] = []
            for twin in self.twins:
                try:
                    found.append(await ask(twin.log))
                except Busy as error:  # its text names the log that holds the session
                    found.append((Busy, error.code))
                except TurnlogError as error:
                    found.append((type(error), error.code, str(error)))
            return found

        lmdb, memory = self.loop.run(outcomes)
        assert lmdb == memory
        return lmdb

    def pick(self, number: int) -> SessionId:
        return self.sessions[number % len(self.sessions)]

    def new_id(self) -> SessionId:
        number = len(self.sessions) + 1
        self.sessions.append(SessionId(str(UUID(int=number << 64 | number))))
        return self.sessions[-1]

    def take(self, answer: object) -> None:
        if isinstance(answer, Claim):
            self.fences[answer.session] = answer.fence

    @rule(texts=TEXTS)
    def create(self, texts: list[str]) -> None:
        session = self.new_id()
        self.take(self.both(lambda log: log.create(session)))
        self.append(len(self.sessions) - 1, texts, 0, turn=False)

    @precondition(lambda self: self.sessions)
    @rule(which=PICK, texts=TEXTS, off=st.sampled_from([0, 0, 0, 0, 0, -1, 1]), turn=st.booleans())
    def append(self, which: int, texts: list[str], off: int, turn: bool) -> None:
        session = self.pick(which)
        head = self.both(lambda log: log.head(session))
        stream = Stream(session, head if isinstance(head, Head) else Head(0, bytes(16), 0))
        stream.head = structs.replace(stream.head, sequence=stream.head.sequence + off)
        row = SessionSummary(session, updated_us=len(texts), title=texts[0][:20]) if turn else None
        batch = stream.batch(*texts, summary=row, done_ops=("1",))
        fence = self.fences.get(session, 0)

        async def append(log: EventLog) -> object:
            return await log.append(session, batch, fence=fence).settled()

        self.both(append)

    @precondition(lambda self: self.sessions)
    @rule(which=PICK, cut=st.integers(0, 8))
    def fork(self, which: int, cut: int) -> None:
        parent, child = self.pick(which), self.new_id()
        self.both(lambda log: log.fork(parent, cut, child))

    @precondition(lambda self: self.sessions)
    @rule(which=PICK)
    def claim(self, which: int) -> None:
        session = self.pick(which)
        self.take(self.both(lambda log: log.claim(session)))

    @precondition(lambda self: self.sessions)
    @rule(which=PICK, old=st.booleans())
    def release(self, which: int, old: bool) -> None:
        session = self.pick(which)
        claim = Claim(session, self.fences.get(session, 0) - old, Head(0, b"", 0))
        self.both(lambda log: log.release(claim))

    @precondition(lambda self: self.sessions)
    @rule(which=PICK)
    def delete(self, which: int) -> None:
        session = self.pick(which)
        self.both(lambda log: log.delete(session))

    @precondition(lambda self: self.sessions)
    @rule(which=PICK, cut=st.integers(1, 6), texts=TEXTS)
    def branch(self, which: int, cut: int, texts: list[str]) -> None:
        """Fork, and continue in the fork: so families become deep."""
        self.fork(which, cut)
        newest = len(self.sessions) - 1
        self.claim(newest)
        self.append(newest, texts, 0, turn=True)

    @precondition(lambda self: self.sessions)
    @rule(which=PICK)
    def remove(self, which: int) -> None:
        """Delete a session that this engine may have open."""
        self.release(which, old=False)
        self.delete(which)

    @precondition(lambda self: self.sessions)
    @rule(which=PICK, name=st.sampled_from("123"))
    def leave(self, which: int, name: str) -> None:
        session = self.pick(which)
        self.both(lambda log: log.leave(session, op(name)))

    @rule()
    def reopen(self) -> None:
        for twin in self.twins:
            self.loop.run(twin.reopen)

    @precondition(lambda self: not self.sessions or len(self.sessions) % 3 == 0)
    @rule()
    def sweep(self) -> None:
        self.loop.run(lambda: repair(self.lmdb))

    @invariant()
    def they_tell_the_same(self) -> None:
        self.both(self.everything)

    @property
    def lmdb(self) -> LmdbLog:
        log = self.twins[0].log
        assert isinstance(log, LmdbLog)
        return log

    async def everything(self, log: EventLog) -> list[object]:
        found: list[object] = [*await log.sessions()]
        for session in self.sessions:
            try:
                found += [
                    await log.head(session),
                    await log.read(session),
                    await log.read(session, after=2, until=4),
                    await log.inbox(session),
                ]
            except NotFound:
                found.append(None)
        return found


TestStores = StoreMachine.TestCase
TestStores.settings = settings(stateful_step_count=25)
