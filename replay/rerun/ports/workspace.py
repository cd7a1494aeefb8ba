"""A workspace that says what was found and brought back then, and touches no file."""

from collections import deque

import attrs

from turnlog.actors.ports import RestoreRequest, RestoreResult, Save, ScanResult
from turnlog.protocol.errors import TurnlogError
from turnlog.protocol.events import EffectClosed, TurnsRestored, WorkspaceScanned
from turnlog.protocol.ids import SessionId
from turnlog.replay.recorded_failure import RecordedFailure
from turnlog.replay.rerun.recorded_order import Cues, until_stopped
from turnlog.replay.rerun.recording import FileWork, Recording


@attrs.define(eq=False)
class RecordedWorkspace:
    """The `Workspace` of a recording: its scans and restores, each in its order.

    Args:
        cues: keeps the recorded order; None: answer at once.
    """

    recording: Recording
    cues: Cues | None = None
    _scans: deque[FileWork] = attrs.field(init=False)
    _restores: deque[FileWork] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._scans = deque(self.recording.scans)
        self._restores = deque(work for work in self.recording.restores if work.touched_files)

    async def scan(self, session: SessionId, cwd: str, save: Save) -> ScanResult:
        """Save what was saved then.

        Raises:
            RecordedFailure: it failed then.
            TurnlogError: the recording holds no further scan.
        """
        ending = await self._again(self._scans, save)
        if isinstance(ending, WorkspaceScanned):
            return ScanResult(ending.files, ending.left_out, ending.why)
        raise _failure(ending)

    async def restore(self, request: RestoreRequest, save: Save) -> RestoreResult:
        """Say what became of each file then.

        Raises:
            RecordedFailure: it failed then.
            TurnlogError: the recording holds no further undo.
        """
        ending = await self._again(self._restores, save)
        if isinstance(ending, TurnsRestored):
            return RestoreResult(ending.files, ending.left)
        raise _failure(ending)

    async def _again(self, works: deque[FileWork], save: Save) -> object:
        if not works:
            raise TurnlogError("the recording holds no further work on files like this.")
        work = works.popleft()
        if self.cues is not None:
            self.cues.begun(work.asked_at)
        for at, saved in work.saved:
            await self._before(at)
            await save(saved.files)
        if work.is_stopped:
            await until_stopped(self.cues, work.ended_at)
        await self._before(work.ended_at)
        return work.ending

    async def _before(self, at: int | None) -> None:
        if self.cues is not None and at is not None:
            await self.cues.before(at)


def _failure(ending: object) -> TurnlogError:
    if isinstance(ending, EffectClosed):
        return RecordedFailure(ending)
    return TurnlogError("the recording ends while files were looked at.")
