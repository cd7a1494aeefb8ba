"""The work of undo: a scan of the files before the tools of a turn run, and the way back."""

import shlex
from collections.abc import Sequence
from functools import partial

import attrs

from turnlog.actors.core.undo import parts_then
from turnlog.actors.ports import EventLog, RestoreRequest, RestoreResult, Workspace
from turnlog.actors.stored_state.fold import folded
from turnlog.actors.stored_state.pages import Pages
from turnlog.actors.tasks.orders import ScanOrder, UndoOrder
from turnlog.actors.tasks.task import Tell
from turnlog.protocol.calls import CommandPreview, PatchReport, ToolPlan
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ClosingFact,
    FilesSaved,
    ModelItemReceived,
    RestoredPart,
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


async def scan(order: ScanOrder, workspace: Workspace, tell: Tell) -> ClosingFact:
    """Save what the commands of a turn may change; return the fact that closes the effect.

    Raises:
        TurnlogError: the files cannot be scanned.
    """
    result = await workspace.scan(order.session, order.cwd, partial(_save, tell, order.effect))
    return WorkspaceScanned(order.effect, result.files, result.left_out, result.why)


async def undo(
    order: UndoOrder, log: EventLog, workspace: Workspace | None, tell: Tell
) -> ClosingFact:
    """Bring back the files and the conversation of an earlier event, from the log.

    Raises:
        TurnlogError: the log or the files cannot be read.
    """
    asked = order.asked
    parts = await _parts(order, log) if asked.conversation and asked.parts is None else None
    restored = await _files(order, log, workspace, tell) if asked.files else RestoreResult()
    return TurnsRestored(asked.effect, restored.files, restored.left, parts)


async def _parts(order: UndoOrder, log: EventLog) -> tuple[RestoredPart, ...]:
    """Return the earlier conversation: a summary has taken its place since."""
    state = await folded(log, order.session, until=order.asked.since)
    return parts_then(state)


async def _files(
    order: UndoOrder, log: EventLog, workspace: Workspace | None, tell: Tell
) -> RestoreResult:
    edits, work = await edits_since(log, order.session, order.asked.since)
    if workspace is None or not (edits or work.commands):
        return RestoreResult()
    request = RestoreRequest(order.cwd, edits, order.asked.force, work)
    return await workspace.restore(request, partial(_save, tell, order.asked.effect))


async def _save(tell: Tell, effect: EffectId, files: Sequence[FileImage]) -> None:
    if files:
        await tell(FilesSaved(effect, tuple(files)))


async def edits_since(
    log: EventLog, session: SessionId, since: int
) -> tuple[tuple[FileEdit, ...], TurnWork]:
    """Return what a log knows of changes of files after event `since`, oldest first.

    The earlier state of files that only commands changed is what the scans say, up to the first
    after `since`. Without one, no command has run. The second value has what else is known of
    commands.
    """
    scans, edits, work = _Scans(since), FileEdits(), _Work()
    async for page in Pages(log, session):
        for recorded in page:
            is_later = recorded.sequence > since
            if not scans.take(recorded.event, is_later=is_later) and is_later:
                edits.take(recorded.event)
            if is_later:
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
    _first: EffectId | None = None  # the first scan after `since`

    def take(self, event: object, *, is_later: bool) -> bool:
        """Take an event; say whether it was one of the scans that count."""
        match event:
            case FilesSaved(effect=effect, files=files) if effect_kind(effect) == "scan":
                if is_later:
                    self._first = self._first or effect
                if is_later and effect != self._first:
                    return False
                self.before.update((image.path, FileEdit(image)) for image in files)
                return True
            case WorkspaceScanned(effect=effect, why=why) if is_later:
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
