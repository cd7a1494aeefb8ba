"""A session from Python: run a prompt, look at what happened, branch from the middle.

It talks to a scripted model, so it needs no key. Leave the script and the provider out to talk
to the model that is configured.
"""

import tempfile

import trio

import turnlog
from turnlog.runtime.config import load_config
from turnlog.runtime.scripted_model.script import Script, call
from turnlog.runtime.scripted_model.server import serve_script

SCRIPT = Script.of(
    call("exec_command", {"cmd": "echo 6 times 7 is $((6 * 7))", "login": False}),
    "It is 42.",
    "In this branch I have not looked yet.",
)


async def main() -> None:
    async with serve_script(SCRIPT) as model:
        with tempfile.TemporaryDirectory() as home:
            config = load_config(
                ".",
                environ={"TURNLOG_HOME": home},
                assignments=[
                    f'model_providers.local.base_url="{model.base_url}"',
                    "model_provider=local",
                    "sandbox_mode=danger-full-access",
                ],
            )
            async with turnlog.open_engine(home=home, config=config) as engine:
                session = await engine.start(cwd=".", model="scripted")
                asked = 0
                async for event in session.run("What is 6 times 7?"):
                    print(event.sequence, event.role, event.kind)
                    if event.kind == "model_asked" and not asked:
                        asked = event.sequence
                branch = await session.fork(at=asked)
                async for _ in branch.run("And what do you know so far?"):
                    pass
                print(f"{len(session.history())} parts, and {len(branch.history())} in the branch")


trio.run(main)
