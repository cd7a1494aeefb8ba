"""What happens in the demo: the files of the project, and what the scripted model says."""

from typing import Final

from turnlog.runtime.scripted_model.script import Response, Script, call, custom, message, reasoning

GREETING: Final = """\
def greet(name: str) -> str:
    return f"Helo, {name}!"
"""
CHECK: Final = """\
import unittest

from greeting import greet


class GreetingTest(unittest.TestCase):
    def test_it_greets_by_name(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada!")
"""
PATCH: Final = """\
*** Begin Patch
*** Update File: greeting.py
@@ def greet(name: str) -> str:
-    return f"Helo, {name}!"
+    return f"Hello, {name}!"
*** End Patch
"""
FILES: Final = {"greeting.py": GREETING, "test_greeting.py": CHECK}

PROMPT: Final = "The greeting test fails. Find out why, and mend it."
BRANCH_PROMPT: Final = "Before you change anything: who am I outside of the sandbox?"
SUMMARY: Final = (
    "The greeting test failed for a missing letter in greeting.py; that is mended and the test "
    "passes. A deployment was begun and stopped: deploy.log has its first line only. Nothing else "
    "is left to do but to deploy, if the user wants it."
)
SLOW_COMMAND: Final = "echo deploying >> deploy.log; sleep 60; echo deployed >> deploy.log"


def script() -> Script:
    """Return everything that the model is going to say, in order."""
    return Script.of(
        [
            reasoning("**Reading the code and running the test**"),
            call("exec_command", {"cmd": "cat greeting.py", "login": False}),
            call("exec_command", {"cmd": "python3 -m unittest -q 2>&1 | tail -4", "login": False}),
        ],
        [message("A letter is missing in the greeting."), custom("apply_patch", PATCH)],
        [
            message("Mended. Now the deployment, which takes a while."),
            call("exec_command", {"cmd": SLOW_COMMAND, "login": False}),
        ],
        # Here the engine is killed. What follows is said to the one that takes over.
        Response(
            items=[
                message("The deployment was cut off, so I look before I do it again."),
                call(
                    "exec_command",
                    {"cmd": "cat deploy.log; python3 -m unittest -q", "login": False},
                    call_id="call_after_the_kill",
                ),
            ],
            expect_any="stopped while it was running",
        ),
        "The greeting is right and the test passes. The deployment had begun and was stopped, "
        "so I left it to you.",
        # And this in the branch.
        [
            call(
                "exec_command",
                {
                    "cmd": "id -un",
                    "login": False,
                    "sandbox_permissions": "require_escalated",
                    "justification": "The sandbox may show another user.",
                },
                call_id="call_in_the_branch",
            )
        ],
        "In this branch nothing was patched: it begins before the change.",
        # What a request for a summary is answered with, whenever it comes.
        Response(items=[message(SUMMARY)], compaction=True),
    )
