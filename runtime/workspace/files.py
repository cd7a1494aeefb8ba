"""The `Workspace` port over the files of this machine."""

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from turnlog.actors.ports import RestoreRequest, RestoreResult, Save, ScanResult
from turnlog.protocol.files import FileImage
from turnlog.protocol.ids import SessionId
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard

if TYPE_CHECKING:
    from turnlog.runtime.workspace.scan import ScanIndex

REMEMBERED_SCANS = 16  # sessions whose next scan looks at what has changed only


@attrs.define(eq=False)
class WorkspaceFiles:
    """Scans and restores, in worker threads. What it needs is imported when it is needed.

    Args:
        guard: names what is neither read nor restored.
    """

    guard: ReadGuard = OPEN
    _known: "OrderedDict[tuple[SessionId, str], ScanIndex]" = attrs.field(
        factory=lambda: OrderedDict(), init=False
    )

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        from turnlog.runtime.workspace.scan import WorkspaceScan

        scan = WorkspaceScan(cwd, self._known.get((session, cwd), {}), guard=self.guard)
        batches, files = scan.batches(), 0
        while batch := await trio.to_thread.run_sync(partial(next, batches, ())):
            files += len(batch)
            await save(batch)
        self._known[session, cwd] = scan.index
        self._known.move_to_end((session, cwd))
        if len(self._known) > REMEMBERED_SCANS:
            self._known.popitem(last=False)
        left_out = scan.left_out
        why = "; ".join(f"{one.count} because {one.reason}" for one in left_out)
        return ScanResult(files, sum(one.count for one in left_out), why)

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        from turnlog.runtime.workspace.apply import apply_restore
        from turnlog.runtime.workspace.commands import left_by_commands, made_by_commands
        from turnlog.runtime.workspace.restore import plan_restore

        cwd, work, guard = request.cwd, request.work, self.guard
        run = trio.to_thread.run_sync
        made = await run(made_by_commands, cwd, request.edits, work, guard)
        left_alone = await run(left_by_commands, cwd, request.edits, work, guard)
        edits = (*request.edits, *made)
        plan = await run(
            partial(plan_restore, edits, roots=[cwd], force=request.force, guard=guard)
        )
        replaced: tuple[FileImage, ...] = plan.replaced
        await save(replaced)
        report = await trio.to_thread.run_sync(apply_restore, plan)
        left = {edit.before.path: edit.after for edit in report.edits if edit.after is not None}
        return RestoreResult((*report.files, *left_alone), left)
