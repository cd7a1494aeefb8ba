"""Replay: today's code decides again, from the recorded facts alone."""

import tempfile

import trio

import turnlog
from turnlog.testing import scripted


async def record(home: str) -> str:
    async with turnlog.open_engine(home=home, model=scripted("Recorded.")) as engine:
        session = await engine.start()
        async for _ in session.run("Say something that lasts."):
            pass
        return session.id


with tempfile.TemporaryDirectory() as home:
    session = trio.run(record, home)
    # The model is gone. Replay reads the log, and nothing else.
    report = turnlog.replay_session(session, home=home)
    print(f"{report.events} events, {len(report.divergences)} differences")
