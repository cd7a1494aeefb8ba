"""A workspace that says what was found and brought back then, and touches no file."""

from collections import deque

import attrs

from turnlog.actors.ports import RestoreRequest, RestoreResult, Save, ScanResult
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss, TurnlogError
from turnlog.protocol.events import EffectClosed, TurnsRestored, WorkspaceScanned
from turnlog.protocol.ids import SessionId
from turnlog.replay.recorded_failure import recorded_failure
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import Recording, WorkspaceJob


@attrs.define(eq=False)
class RecordedWorkspace:
    """The `Workspace` of a recording: its scans and restores, each in its order."""

    recording: Recording
    playback: Playback
    _scans: deque[WorkspaceJob] = attrs.field(init=False)
    _restores: deque[WorkspaceJob] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._scans = deque(self.recording.scans)
        self._restores = deque(work for work in self.recording.restores if work.touched_files)

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        """Save what was saved then.

        Raises:
            Failed: it failed then.
            TurnlogError: the recording holds no further scan.
        """
        ending = await self._again(self._scans, save)
        if isinstance(ending, WorkspaceScanned):
            return ScanResult(ending.files, ending.left_out, ending.why)
        raise _failure(ending)

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        """Say what became of each file then.

        Raises:
            Failed: it failed then.
            TurnlogError: the recording holds no further undo.
        """
        ending = await self._again(self._restores, save)
        if isinstance(ending, TurnsRestored):
            return RestoreResult(ending.files, ending.left)
        raise _failure(ending)

    async def _again(self, works: deque[WorkspaceJob], save: Save) -> object:
        if not works:
            raise RecordingMiss(
                ErrorCode.NOTHING_RECORDED,
                "the recording holds no further work on files like this.",
            )
        work = works.popleft()
        order = self.playback.order
        order.begun(work.asked_at)
        for at, saved in work.saved:
            await order.before(at)
            await save(saved.files)
        if work.was_stopped:
            await order.until_stopped(work.ended_at)
        await order.before(work.ended_at)
        return work.ending


def _failure(ending: object) -> TurnlogError:
    if isinstance(ending, EffectClosed):
        return recorded_failure(ending)
    return RecordingMiss(
        ErrorCode.NOTHING_RECORDED, "the recording ends during this work on files."
    )
