"""The tool `exec_command`: runs a shell command to its end, confined as the turn's policy asks."""

import codecs
import os
import secrets
import signal
from collections.abc import Callable
from typing import Any, Final, Literal

import attrs
import msgspec
import trio
from msgspec import Struct, structs

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import CommandPreview, CommandReport, Leftover, ToolPlan
from turnlog.protocol.errors import Unavailable, with_code
from turnlog.protocol.items import FunctionCall, ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.patch.detect import detect_patch_call
from turnlog.runtime.processes.command import CommandResult, Running, run_command
from turnlog.runtime.processes.environment import child_environment
from turnlog.runtime.processes.output import (
    decode_output,
    exec_reply,
    left_note,
    truncate_for_model,
)
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Confined, Sandbox
from turnlog.runtime.sandbox.denial import denial
from turnlog.runtime.tools.apply_patch import ApplyPatch
from turnlog.runtime.tools.tool import CallRefused, parse_arguments

DEFAULT_TIMEOUT_MS: Final = 600_000
MAX_TIMEOUT_MS: Final = 3_600_000
_SHELL: Final = "/bin/bash"
_INTERRUPTED: Final = 128 + signal.SIGINT  # as the exit code of a command that was stopped

# What models know of a stopped command. Source: measured on Codex 0.169, which says no more.
_ABORTED: Final = "Wall time: {seconds:.1f} seconds\naborted by user"
_TIMED_OUT: Final = "command timed out after {milliseconds} milliseconds\n"


class ExecArguments(Struct, frozen=True):
    """What the model may say. Names are Codex's, and `timeout_ms` ours."""

    cmd: str
    workdir: str | None = None
    shell: str | None = None
    login: bool = True
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    max_output_tokens: int | None = None
    sandbox_permissions: Literal["use_default", "require_escalated"] = "use_default"
    justification: str | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line: a shell with the command."""
        return (self.shell or _SHELL, "-lc" if self.login else "-c", self.cmd)


SPEC: Final[dict[str, Any]] = {
    "type": "function",
    "name": "exec_command",
    "description": (
        "Run a shell command and wait until it ends. Returns its exit code and output. What still "
        "reads from the command's own pipeline, as in >(...), is waited for, within timeout_ms. "
        "What the command leaves in the background (&, nohup, setsid, daemons) ends with the call."
    ),
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {
            "cmd": {"type": "string", "description": "The shell command."},
            "workdir": {
                "type": "string",
                "description": "Where to run it. Default: the working directory of the turn.",
            },
            "shell": {"type": "string", "description": "The shell's path. Default: bash."},
            "login": {
                "type": "boolean",
                "description": "Whether the shell reads the login profile. Default: true.",
            },
            "timeout_ms": {
                "type": "integer",
                "description": "It is stopped after this time. Default 600000, at most 3600000.",
            },
            "max_output_tokens": {
                "type": "integer",
                "description": "How much output to return; the middle is cut out. At most 10000.",
            },
            "sandbox_permissions": {
                "type": "string",
                "enum": ["use_default", "require_escalated"],
                "description": "require_escalated asks the user to run it without the sandbox.",
            },
            "justification": {
                "type": "string",
                "description": "With require_escalated: one sentence for the user that says why.",
            },
        },
        "required": ["cmd"],
        "additionalProperties": False,
    },
}


@attrs.define(eq=False)
class ExecCommand:
    """Plain processes: no terminal, nothing on standard input, one run to the end.

    A command that only calls apply_patch is done by that tool, and shown as a file change.
    """

    spawner: Spawner
    sandbox: Sandbox
    patch: ApplyPatch
    inherited: dict[str, str]  # the engine's environment, before the policy filters it
    name: str = "exec_command"
    spec: dict[str, Any] = attrs.field(factory=lambda: SPEC)

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        if not isinstance(call, FunctionCall):
            raise CallRefused(f"{self.name} is a function and takes JSON arguments, not free text")
        arguments = parse_arguments(call.arguments, ExecArguments)
        cwd = _cwd(arguments, settings)
        if (patch := detect_patch_call(arguments.cmd)) is not None:
            folder = os.path.join(cwd, patch.workdir or "")
            return self.patch.plan_text(patch.text, folder, settings)
        if not arguments.cmd.strip():
            raise CallRefused("failed to parse function arguments: cmd is empty")
        outside = arguments.sandbox_permissions == "require_escalated"
        return ToolPlan(
            self.name,
            parallel=True,
            wants="outside" if outside else "inside",
            reason=arguments.justification,
            approval_key=msgspec.json.encode((cwd, *arguments.argv)).decode(),
            preview=CommandPreview(arguments.argv, cwd),
        )

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        assert isinstance(order.call, FunctionCall)  # as planned
        arguments = parse_arguments(order.call.arguments, ExecArguments)
        cwd = _cwd(arguments, order.settings)
        if (patch := detect_patch_call(arguments.cmd)) is not None:
            folder = os.path.join(cwd, patch.workdir or "")
            return await self.patch.run_text(patch.text, folder, order, monitor)
        session = order.settings.session
        env = child_environment(session.shell_environment, self.inherited)
        try:
            async with self.sandbox.confined(
                arguments.argv,
                cwd=cwd,
                workspace=session.cwd,
                policy=order.dispatched.sandbox,
                env=env,
            ) as command:
                return await self._run(command, arguments, cwd, order, monitor)
        except Unavailable as error:
            return ToolResult("failed", "", with_code(str(error), error.code))

    async def _run(
        self,
        command: Confined,
        arguments: ExecArguments,
        cwd: str,
        order: ToolOrder,
        monitor: ToolMonitor,
    ) -> ToolResult:
        await monitor.started()
        running: list[Running] = []
        try:
            result = await run_command(
                self.spawner,
                command.line,
                cwd=cwd,
                env=command.env,
                timeout_ms=max(1, min(arguments.timeout_ms, MAX_TIMEOUT_MS)),
                on_started=running.append,
                on_output=_shown_to(monitor),
            )
        except trio.Cancelled:
            monitor.stopped(_stopped(running[0] if running else None, order.settings))
            raise
        confined = order.dispatched.sandbox.mode != "danger-full-access"
        ended = _finished(result, arguments, order.settings, confined=confined)
        if ended.denial is None or not command.hint:
            return ended
        output = f"{ended.output.rstrip()}\n{command.hint}\n"
        return structs.replace(ended, output=output)


def _cwd(arguments: ExecArguments, settings: TurnSettings) -> str:
    return os.path.join(settings.session.cwd, arguments.workdir or "").rstrip("/") or "/"


def _finished(
    result: CommandResult, arguments: ExecArguments, settings: TurnSettings, *, confined: bool
) -> ToolResult:
    text = decode_output(result.output)
    most = settings.tool_output_tokens
    budget = most if arguments.max_output_tokens is None else arguments.max_output_tokens
    budget = max(0, min(budget, most))
    shown = truncate_for_model(text, budget, omitted_bytes=result.omitted_bytes)
    reply = exec_reply(
        secrets.token_hex(3),
        result.duration_seconds,
        result.exit_code,
        text,
        budget,
        omitted_bytes=result.omitted_bytes,
    )
    milliseconds = round(result.duration_seconds * 1000)
    if result.timed_out:
        reply = _TIMED_OUT.format(milliseconds=milliseconds) + reply
    return ToolResult(
        "done" if result.exit_code == 0 and not result.timed_out else "failed",
        reply.removesuffix(shown),
        _with_note(shown, result.left),
        full_output=_with_note(text, result.left) if shown != text else None,
        report=CommandReport(result.exit_code, milliseconds, result.timed_out, result.left),
        denial=denial(result.exit_code, text) if confined and not result.timed_out else None,
    )


def _with_note(text: str, left: Leftover | None) -> str:
    """Return what a command printed, and on a line of its own what has outlived it."""
    note = left_note(left)
    return f"{text}\n{note}" if note and text and not text.endswith("\n") else text + note


def _shown_to(monitor: ToolMonitor) -> Callable[[bytes], None]:
    """Return what shows pieces of output as text; a character may be cut between two of them."""
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode

    def show(chunk: bytes) -> None:
        if text := decode(chunk):
            monitor.output(text)

    return show


def _stopped(running: Running | None, settings: TurnSettings) -> ToolResult:
    """Return what the model is told of a command that was interrupted, with what it printed."""
    if running is None:
        return ToolResult("cancelled", _ABORTED.format(seconds=0.0), "")
    seconds = running.elapsed()
    text = decode_output(running.output())
    shown = truncate_for_model(
        text, settings.tool_output_tokens, omitted_bytes=running.omitted_bytes
    )
    return ToolResult(
        "cancelled",
        _ABORTED.format(seconds=seconds) + ("\nOutput:\n" if text or running.left else ""),
        _with_note(shown, running.left),
        full_output=_with_note(text, running.left) if shown != text else None,
        report=CommandReport(_INTERRUPTED, round(seconds * 1000), left=running.left),
    )
