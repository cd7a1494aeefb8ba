"""The tool `apply_patch`: changes files by a patch, all of it or none.

Under a sandbox the files are written by a confined child, so that the kernel judges each write
and no link or race can trick a check of ours.
"""

import os
import sys
from functools import partial
from typing import Any, Final

import attrs
import trio

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import FileChange, PatchPreview, PatchReport, ToolPlan
from turnlog.protocol.errors import TurnlogError, Unavailable, with_code
from turnlog.protocol.files import FileImage, digest_of
from turnlog.protocol.items import CustomToolCall, ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.patch.apply import PlannedPatch, plan_patch, touched_paths
from turnlog.runtime.patch.parse import AddFile, DeleteFile, Patch, parse_patch
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.environment import child_environment
from turnlog.runtime.processes.output import decode_output
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard
from turnlog.runtime.tools.tool import CallRefused

# What clients and models match on. Source: measured on Codex 0.169.
_REFUSED: Final = "apply_patch verification failed: {why}"
_READ_ONLY: Final = (
    "patch rejected: writing is blocked by read-only sandbox; rejected by user approval settings"
)
_OUTSIDE: Final = (
    "patch rejected: writing outside of the project; rejected by user approval settings"
)
_DONE: Final = "Exit code: 0\nWall time: {seconds:.1f} seconds\nOutput:\n"
_FAILED: Final = "Exit code: 1\nWall time: {seconds:.1f} seconds\nOutput:\n"

_GRAMMAR: Final = """\
start: begin hunk+ end
begin: "*** Begin Patch" LF
end: "*** End Patch" LF?
hunk: add | delete | update
add: "*** Add File: " path LF added+
delete: "*** Delete File: " path LF
update: "*** Update File: " path LF move? chunk*
move: "*** Move to: " path LF
path: /(.+)/
added: "+" /(.*)/ LF
chunk: (anchor | line)+ eof?
anchor: ("@@" | "@@ " /(.+)/) LF
line: ("+" | "-" | " ") /(.*)/ LF
eof: "*** End of File" LF
%import common.LF
"""
SPEC: Final[dict[str, Any]] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Add, change, move and delete files by a patch. Write the patch, not JSON.",
    "format": {"type": "grammar", "syntax": "lark", "definition": _GRAMMAR},
}


@attrs.define(eq=False)
class ApplyPatch:
    """Verifies a patch against the files as they are when its turn comes, then writes it."""

    spawner: Spawner
    sandbox: Sandbox
    inherited: dict[str, str]
    name: str = "apply_patch"
    spec: dict[str, Any] = attrs.field(factory=lambda: SPEC)

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        if not isinstance(call, CustomToolCall):
            raise CallRefused(f"{self.name} takes the patch as free text, not as JSON arguments")
        return self.plan_text(call.input, settings.session.cwd, settings)

    def plan_text(self, text: str, cwd: str, settings: TurnSettings) -> ToolPlan:
        """Plan a patch whose relative paths start from `cwd`."""
        try:
            patch = parse_patch(text)
        except TurnlogError as error:
            raise CallRefused(_REFUSED.format(why=error)) from error
        paths = touched_paths(patch, cwd)
        denial = self._denial(paths, settings)
        return ToolPlan(
            self.name,
            wants="inside" if denial is None else "outside",
            approval_key="\0".join((self.name, digest_of(text.encode()), *paths)),
            preview=PatchPreview(_preview(patch, cwd)),
            denial=denial,
        )

    def _denial(self, paths: tuple[str, ...], settings: TurnSettings) -> str | None:
        session = settings.session
        if session.sandbox.mode == "danger-full-access":
            return None
        if session.sandbox.mode == "read-only":
            return _READ_ONLY
        env = child_environment(session.shell_environment, self.inherited)
        try:
            layout = self.sandbox.layout(session.sandbox, workspace=session.cwd, env=env)
        except Unavailable as error:
            raise CallRefused(str(error)) from error
        places = {place for path in paths for place in _places(path)}
        return None if all(map(layout.can_write, places)) else _OUTSIDE

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        assert isinstance(order.call, CustomToolCall)  # as planned
        return await self.run_text(order.call.input, order.settings.session.cwd, order, monitor)

    async def run_text(
        self, text: str, cwd: str, order: ToolOrder, monitor: ToolMonitor
    ) -> ToolResult:
        """Apply a patch whose relative paths start from `cwd`."""
        from turnlog.runtime.workspace.images import images_after, images_of

        begun = trio.current_time()
        try:
            planned = await trio.to_thread.run_sync(
                lambda: plan_patch(parse_patch(text), cwd, self._guard(order))
            )
        except TurnlogError as error:
            return ToolResult("failed", "", _REFUSED.format(why=error))
        written = {write.path: write.content for write in planned.writes}
        touched = [*written, *(removal.path for removal in planned.removals)]
        guard = self.sandbox.guard
        before = await trio.to_thread.run_sync(partial(images_of, touched, guard=guard))
        await monitor.saved(before)
        await monitor.started()
        changes = tuple(FileChange(change.path, change.kind) for change in planned.changes)
        failure: str | None = None
        after: tuple[FileImage, ...] = ()
        # A patch is short, and half of one is worse than a moment's wait.
        with trio.CancelScope(shield=True):
            failure = await self._write(planned, text, cwd, order)
            after = await trio.to_thread.run_sync(
                partial(images_after, before, written, guard=guard)
            )
        seconds = trio.current_time() - begun
        if failure is None:
            preamble = _DONE.format(seconds=seconds)
            report = PatchReport(changes, applied=True, after=after)
            return ToolResult("done", preamble, planned.summary, report=report)
        preamble = _FAILED.format(seconds=seconds)
        report = PatchReport(changes, applied=False, after=after)
        return ToolResult("failed", preamble, failure, report=report)

    def _guard(self, order: ToolOrder) -> ReadGuard:
        is_confined = order.dispatched.sandbox.mode != "danger-full-access"
        return self.sandbox.guard if is_confined else OPEN

    async def _write(
        self, planned: PlannedPatch, text: str, cwd: str, order: ToolOrder
    ) -> str | None:
        """Write the patch; return why that failed, if it did."""
        try:
            if order.dispatched.sandbox.mode == "danger-full-access":
                await trio.to_thread.run_sync(planned.apply)
                return None
            touched = [
                *(write.path for write in planned.writes),
                *(removal.path for removal in planned.removals),
            ]
            return await self._write_confined(text, cwd, touched, order)
        except Unavailable as error:
            return f"{with_code(str(error), error.code)}\n"
        except TurnlogError as error:
            return f"{error}\n"

    async def _write_confined(
        self, text: str, cwd: str, touched: list[str], order: ToolOrder
    ) -> str | None:
        session = order.settings.session
        env = child_environment(session.shell_environment, self.inherited)
        script = [sys.executable, "-I", "-X", "utf8", "-m", "turnlog.runtime.patch", "--cwd", cwd]
        script += [word for path in self.sandbox.kept.hidden for word in ("--hidden", path)]
        async with self.sandbox.confined(
            script,
            cwd=cwd,
            workspace=session.cwd,
            policy=order.dispatched.sandbox,
            env=env,
            changed=touched,
        ) as command:
            result = await run_command(
                self.spawner, command.line, cwd=cwd, env=command.env, stdin=text.encode()
            )
        return None if result.exit_code == 0 else decode_output(result.output)


def _preview(patch: Patch, cwd: str) -> tuple[FileChange, ...]:
    """Return the files that a patch names, a moved one under its old path. Pure."""
    kinds: dict[str, FileChange] = {}
    for hunk in patch.hunks:
        path = os.path.normpath(os.path.join(cwd, hunk.path))
        match hunk:
            case AddFile():
                kinds[path] = FileChange(path, "add")
            case DeleteFile():
                kinds[path] = FileChange(path, "delete")
            case _:
                kinds[path] = FileChange(path, "update")
    return tuple(kinds[path] for path in sorted(kinds))


def _places(path: str) -> tuple[str, str]:
    """Return where a path really is, and what it leads to if it is a link."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name), os.path.realpath(path)
