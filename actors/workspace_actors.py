"""The trio shells of undo: a scan of the files before a turn's tools run, and the way back."""

from collections.abc import Awaitable, Callable, Sequence

import attrs

from turnlog.actors.core.undo import parts_then
from turnlog.actors.folding import folded
from turnlog.actors.jobs import ScanJob, UndoJob
from turnlog.actors.ports import EventLog, RestoreRequest, RestoreResult, Workspace
from turnlog.actors.snapshot_keeper import READ_AT_ONCE
from turnlog.protocol.calls import PatchReport
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import (
    EffectClosed,
    FilesSaved,
    RestoredPart,
    SessionFact,
    ToolFinished,
    TurnsRestored,
    WorkspaceScanned,
)
from turnlog.protocol.files import FileEdit, FileImage, FileMark, mark_of
from turnlog.protocol.ids import EffectId, SessionId, effect_kind

Tell = Callable[[SessionFact], Awaitable[None]]


async def _save(tell: Tell, effect: EffectId, files: Sequence[FileImage]) -> None:
    if files:
        await tell(FilesSaved(effect, tuple(files)))


@attrs.define(eq=False)
class ScanActor:
    """Saves what the commands of a turn may change."""

    job: ScanJob
    workspace: Workspace
    tell: Tell
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        """Scan; return the fact that closes the effect."""

        async def save(files: Sequence[FileImage]) -> None:
            await _save(self.tell, self.job.effect, files)

        try:
            result = await self.workspace.scan(self.job.session, self.job.cwd, save)
        except TurnlogError as error:
            return EffectClosed(self.job.effect, "failed", str(error), error.code)
        return WorkspaceScanned(self.job.effect, result.files, result.left_out, result.why)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


@attrs.define(eq=False)
class UndoActor:
    """Brings back the files and the conversation of an earlier event, from the log."""

    job: UndoJob
    log: EventLog
    workspace: Workspace | None
    tell: Tell
    begins_stopped: bool = False

    async def run(self) -> SessionFact:
        """Restore; return the fact that closes the effect."""
        asked = self.job.asked
        try:
            parts = await self._parts() if asked.conversation and asked.parts is None else None
            restored = await self._files() if asked.files else RestoreResult()
        except TurnlogError as error:
            return EffectClosed(self.job.effect, "failed", str(error), error.code)
        return TurnsRestored(self.job.effect, restored.files, restored.left, parts)

    async def _parts(self) -> tuple[RestoredPart, ...]:
        """Return the conversation as it was: a summary has taken its place since."""
        state = await folded(self.log, self.job.session, until=self.job.asked.since)
        return parts_then(state, self.job.rules)

    async def _files(self) -> RestoreResult:
        edits = await edits_since(self.log, self.job.session, self.job.asked.since)
        if self.workspace is None or not edits:
            return RestoreResult()

        async def save(files: Sequence[FileImage]) -> None:
            await _save(self.tell, self.job.effect, files)

        request = RestoreRequest(self.job.cwd, edits, self.job.asked.force)
        return await self.workspace.restore(request, save)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


async def edits_since(log: EventLog, session: SessionId, since: int) -> tuple[FileEdit, ...]:
    """Return what a log knows of changes of files behind event `since`, oldest first.

    How the files were that only commands changed is what all scans say up to the first one behind
    `since`. If there is none, no command has run.
    """
    before, edits = dict[str, FileEdit](), FileEdits()
    first, is_whole = EffectId(""), False  # the first scan behind `since`
    at = 0
    while page := await log.read(session, after=at, limit=READ_AT_ONCE):
        for recorded in page:
            event, is_behind = recorded.event, recorded.sequence > since
            match event:
                case FilesSaved(effect=effect, files=files) if effect_kind(effect) == "scan":
                    first = first or (effect if is_behind else first)
                    if not is_behind or effect == first:
                        before.update((image.path, FileEdit(image)) for image in files)
                        continue
                case WorkspaceScanned(effect=effect) if is_behind:
                    is_whole = is_whole or first in ("", effect)
                    first = first or effect
                case _:
                    pass
            if is_behind:
                edits.take(event)
        at = page[-1].sequence
    return (*(before.values() if is_whole else ()), *edits.edits)


@attrs.define
class FileEdits:
    """What some events say of changes of files, in order."""

    edits: list[FileEdit] = attrs.field(factory=list[FileEdit])
    _open: dict[tuple[EffectId, str], int] = attrs.field(factory=dict[tuple[EffectId, str], int])

    def take(self, event: object) -> None:
        """Take what an event says; most say nothing."""
        match event:
            case FilesSaved(effect=effect, files=files):
                for image in files:
                    self._open[effect, image.path] = len(self.edits)
                    self.edits.append(FileEdit(image))
            case ToolFinished(effect=effect, report=PatchReport(after=after)):
                for image in after:
                    self._left(effect, image.path, mark_of(image))
            case TurnsRestored(effect=effect, left=left):
                for path, mark in left.items():
                    self._left(effect, path, mark)
            case _:
                pass

    def _left(self, effect: EffectId, path: str, mark: FileMark) -> None:
        at = self._open.get((effect, path))
        if at is not None:
            self.edits[at] = FileEdit(self.edits[at].before, mark)
