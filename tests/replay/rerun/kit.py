"""Sessions that are recorded by a real engine, in a real store, against a scripted model."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.engine.kit import House, Says, configured, house
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.replay.rerun.rerun import RerunReport
from turnlog.replay.rerun.rerun import rerun as rerun_session
from turnlog.replay.rerun.rerun import simulate as simulate_session
from turnlog.runtime.config.schema import Config
from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.server import ScriptedServer, serve_script
from turnlog.runtime.store.lmdb.log import open_log

PATIENCE = 120.0  # seconds


@attrs.frozen
class Studio:
    """A home with a store, and a folder to work in."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def folder(self) -> Path:
        return self.root / "work"

    @asynccontextmanager
    async def open(self, *script: Says, **config: Any) -> AsyncGenerator[House]:  # noqa: ANN401
        """Run an engine over the store, with a model that follows the script."""
        self.home.mkdir(exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        async with (
            open_log(self.home / "store") as log,
            house(self.folder, *script, log=log, **config) as opened,
        ):
            yield opened

    async def record(
        self,
        *script: Says,
        prompts: Sequence[str] = ("go",),
        **config: Any,  # noqa: ANN401
    ) -> SessionId:
        """Run a session, one turn for each prompt."""
        async with self.open(*script, **config) as h:
            session = await h.start()
            for prompt in prompts:
                async for _ in session.run(prompt):
                    pass
        return session.id

    async def events(self, session: str) -> list[Recorded]:
        async with open_log(self.home / "store", read_only=True) as log:
            return await log.read(await log.resolve(session), limit=10_000)

    async def parts(self, session: str) -> list[str]:
        return rebuild(await self.events(session)).history.texts()

    async def simulate(self, session: str, **options: Any) -> RerunReport:  # noqa: ANN401
        with trio.fail_after(PATIENCE):
            return await simulate_session(session, home=self.home, **options)

    async def rerun(self, session: str, **options: Any) -> RerunReport:  # noqa: ANN401
        with trio.fail_after(PATIENCE):
            return await rerun_session(session, home=self.home, **options)

    @asynccontextmanager
    async def live_model(
        self,
        *script: Says,
        **config: Any,  # noqa: ANN401
    ) -> AsyncGenerator[tuple[ScriptedServer, Config]]:
        """Serve a script; yield the server, and the configuration that uses it."""
        async with serve_script(Script.of(*script)) as server:
            yield server, configured(server.base_url, **config)


Edit = Callable[[Path], None]
