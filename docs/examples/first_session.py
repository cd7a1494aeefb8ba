"""A session from Python: run a prompt, look at what happened, branch from the middle.

It talks to a scripted model, so it needs no key. Give the name of a model, or leave `model` out, to
talk to a real one.
"""

import tempfile

import trio

import turnlog
from turnlog.testing import call, scripted

MODEL = scripted(
    call("exec_command", {"cmd": "echo 6 times 7 is $((6 * 7))", "login": False}),
    "It is 42.",
)


async def main(home: str) -> None:
    free = turnlog.SettingsUpdate(sandbox=turnlog.SandboxPolicy(mode="danger-full-access"))
    async with turnlog.open_engine(home=home, model=MODEL) as engine:
        session = await engine.start(cwd=".", update=free)
        asked = 0
        async for event in session.run("What is 6 times 7?"):
            print(event.sequence, event.role, event.kind)
            if event.kind == "model_asked" and not asked:
                asked = event.sequence
        branch = await session.fork(at=asked)
        async for _ in branch.run("And what do you know so far?"):
            pass
        print(f"{len(session.history())} parts, and {len(branch.history())} in the branch")


with tempfile.TemporaryDirectory() as home:
    trio.run(main, home)
