"""Replay: today's code decides again, from the recorded facts alone."""

import tempfile

import trio

import turnlog
from turnlog.runtime.config import load_config
from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.server import serve_script


async def record(home: str) -> str:
    async with serve_script(Script.of("Recorded.")) as model:
        assignments = [f'model_providers.local.base_url="{model.base_url}"', "model_provider=local"]
        config = load_config(".", environ={"TURNLOG_HOME": home}, assignments=assignments)
        async with turnlog.open_engine(home=home, config=config) as engine:
            session = await engine.start()
            async for _ in session.run("Say something that lasts."):
                pass
            return session.id


with tempfile.TemporaryDirectory() as home:
    session = trio.run(record, home)
    # The model is gone. Replay reads the log, and nothing else.
    report = turnlog.replay_session(session, home=home)
    print(f"{report.events} events, {len(report.divergences)} differences")
