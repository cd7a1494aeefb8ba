"""A question: the model wants to leave the sandbox, and a person decides."""

import tempfile

import trio

import turnlog
from turnlog.events import ApprovalAsked, ToolFinished
from turnlog.testing import call, scripted

MODEL = scripted(
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


async def main(home: str) -> None:
    async with turnlog.open_engine(home=home, model=MODEL) as engine:
        session = await engine.start(update=turnlog.SettingsUpdate(approval_policy="on-request"))
        async for recorded in session.run("Say outside, please."):
            match recorded.event:
                case ApprovalAsked(question=question, plan=plan):
                    print("asked:", plan.reason)
                    await session.answer(question, "approved")
                case ToolFinished(output=output):
                    print("it printed:", output.strip())
                case _:
                    pass


with tempfile.TemporaryDirectory() as home:
    trio.run(main, home)
