"""A question: the model wants to leave the sandbox, and a person decides."""

import tempfile

import trio

import turnlog
from turnlog.protocol.events import ApprovalAsked, ToolFinished
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.config import load_config
from turnlog.runtime.scripted_model.script import Script, call
from turnlog.runtime.scripted_model.server import serve_script

SCRIPT = Script.of(
    call(
        "exec_command",
        {
            "cmd": "echo outside",
            "login": False,
            "sandbox_permissions": "require_escalated",
            "justification": "To show a question.",
        },
    ),
    "Thank you.",
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
                ],
            )
            async with turnlog.open_engine(home=home, config=config) as engine:
                session = await engine.start(update=SettingsUpdate(approval_policy="on-request"))
                async for recorded in session.run("Say outside, please."):
                    match recorded.event:
                        case ApprovalAsked(question=question, plan=plan):
                            print("asked:", plan.reason)
                            await session.answer(question, "approved")
                        case ToolFinished(output=output):
                            print("it printed:", output.strip())
                        case _:
                            pass


trio.run(main)
