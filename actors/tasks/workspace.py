"""The trio shells of undo: a scan of the files before a turn's tools run, and the way back."""

import shlex
from collections.abc import Awaitable, Callable, Sequence

import attrs

from turnlog.actors.core.undo import parts_then
from turnlog.actors.ports import EventLog, RestoreRequest, RestoreResult, Workspace
from turnlog.actors.stored_state.fold import folded
from turnlog.actors.stored_state.pages import Pages
from turnlog.actors.tasks.jobs import ScanJob, UndoJob
from turnlog.protocol.calls import CommandPreview, PatchReport, ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import (
    EffectClosed,
    FilesSaved,
    ModelItemReceived,
    RestoredPart,
    SessionFact,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
    TurnsRestored,
    WorkspaceScanned,
)
from turnlog.protocol.files import UNSEEN, FileEdit, FileImage, FileMark, TurnWork, mark_of
from turnlog.protocol.ids import EffectId, SessionId, effect_kind
from turnlog.protocol.items import CustomToolCall, FunctionCall, read_item

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
        edits, work = await edits_since(self.log, self.job.session, self.job.asked.since)
        if self.workspace is None or not (edits or work.commands):
            return RestoreResult()

        async def save(files: Sequence[FileImage]) -> None:
            await _save(self.tell, self.job.effect, files)

        request = RestoreRequest(self.job.cwd, edits, self.job.asked.force, work)
        return await self.workspace.restore(request, save)

    def cancelled(self) -> SessionFact:
        return EffectClosed(self.job.effect, "cancelled")


async def edits_since(
    log: EventLog, session: SessionId, since: int
) -> tuple[tuple[FileEdit, ...], TurnWork]:
    """Return what a log knows of changes of files behind event `since`, oldest first.

    How the files were that only commands changed is what all scans say up to the first one behind
    `since`. If there is none, no command has run. What else commands may have done is told beside.
    """
    scans, edits, work = _Scans(since), FileEdits(), _Work()
    async for page in Pages(log, session):
        for recorded in page:
            is_behind = recorded.sequence > since
            if not scans.take(recorded.event, is_behind=is_behind) and is_behind:
                edits.take(recorded.event)
            if is_behind:
                work.take(recorded)
    before = scans.before if scans.is_whole else {}
    scanned = frozenset(before) if scans.is_whole and not scans.left_files else None
    return (*before.values(), *edits.edits), work.told(scanned)


@attrs.define
class _Scans:
    """What scans say of the files as they were at an event."""

    since: int
    before: dict[str, FileEdit] = attrs.field(factory=dict[str, FileEdit])
    is_whole: bool = False
    left_files: bool = False  # there were files that no scan has looked at
    _first: EffectId | None = None  # the first scan behind `since`

    def take(self, event: object, *, is_behind: bool) -> bool:
        """Take an event; say whether it was one of the scans that count."""
        match event:
            case FilesSaved(effect=effect, files=files) if effect_kind(effect) == "scan":
                if is_behind:
                    self._first = self._first or effect
                if is_behind and effect != self._first:
                    return False
                self.before.update((image.path, FileEdit(image)) for image in files)
                return True
            case WorkspaceScanned(effect=effect, why=why) if is_behind:
                if self._first in (None, effect):
                    self.is_whole = True
                    self.left_files = any(sign in why for sign in UNSEEN)
                self._first = self._first or effect
            case _:
                pass
        return False


@attrs.define
class _Work:
    """The turns that an undo goes back over, and the commands that ran in them."""

    _commands: list[str] = attrs.field(factory=list[str])
    _times_us: list[tuple[int, int]] = attrs.field(factory=list[tuple[int, int]])
    _begun: dict[int, int] = attrs.field(factory=dict[int, int])  # by turn
    _planned: dict[str, str] = attrs.field(factory=dict[str, str])  # by call id
    _sent: dict[EffectId, str] = attrs.field(factory=dict[EffectId, str])

    def take(self, recorded: Recorded) -> None:
        match recorded.event:
            case TurnOpened(turn=turn, kind="regular" | "review"):
                self._begun[turn] = recorded.time_us
            case TurnEnded() | StepFailed():
                begun = self._begun.pop(recorded.turn, None)
                if begun is not None:
                    self._times_us.append((begun, recorded.time_us))
            case ModelItemReceived(
                item_json=text, plan=ToolPlan(preview=CommandPreview() as shown)
            ):
                item = read_item(text)
                if isinstance(item, FunctionCall | CustomToolCall):
                    self._planned[item.call_id] = shlex.join(shown.command)
            case ToolDispatched(effect=effect, call_id=call_id) if call_id in self._planned:
                self._sent[effect] = self._planned[call_id]
            case ToolStarted(effect=effect) if effect in self._sent:
                self._commands.append(self._sent[effect])
            case _:
                pass

    def told(self, scanned: frozenset[str] | None) -> TurnWork:
        return TurnWork(tuple(self._commands), tuple(self._times_us), scanned)


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
