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
DEPLOY_LOG: Final = "logs/deploy.log"  # there from the start: a strict sandbox lets nobody make it
FILES: Final = {"greeting.py": GREETING, "test_greeting.py": CHECK, DEPLOY_LOG: ""}

PROMPT: Final = "The greeting test fails. Find out why, and fix it."
BRANCH_PROMPT: Final = "Before you change anything: which user am I outside the sandbox?"
SUMMARY: Final = (
    "The greeting test failed because a letter was missing in greeting.py. That is fixed, and the "
    "test passes. A deployment was started and then stopped: logs/deploy.log has only its first "
    "line. The only thing left to do is to deploy, if the user wants it."
)
SLOW_COMMAND: Final = f"echo deploying >> {DEPLOY_LOG}; sleep 60; echo deployed >> {DEPLOY_LOG}"


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
            message("Fixed. Now the deployment, which takes a while."),
            call("exec_command", {"cmd": SLOW_COMMAND, "login": False}),
        ],
        # Here the engine is killed. What follows is said to the one that takes over.
        Response(
            items=[
                message("The deployment was cut off, so I look at it before I try again."),
                call(
                    "exec_command",
                    {"cmd": f"cat {DEPLOY_LOG}; python3 -m unittest -q", "login": False},
                    call_id="call_after_the_kill",
                ),
            ],
            expect_any="stopped while it was running",
        ),
        "The greeting is correct and the test passes. The deployment had started and was stopped, "
        "so I leave it to you.",
        # And this in the branch.
        [
            call(
                "exec_command",
                {
                    "cmd": "id -u",
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
