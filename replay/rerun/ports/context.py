"""The recorded context of a turn, with the changes that the caller asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio
from msgspec import structs

from turnlog.actors.ports import ContextLoader, ContextRequest
from turnlog.protocol.calls import ContextFragment
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import RecordingMiss
from turnlog.protocol.events import ContextLoaded, EffectClosed
from turnlog.protocol.settings import SessionSettings
from turnlog.replay.recorded_failure import recorded_failure
from turnlog.replay.rerun.ports.playback import Playback
from turnlog.replay.rerun.recording import ContextLoad, Recording
from turnlog.runtime.context.user_input import user_message

# Which texts depend on a setting: those are rendered again if the setting is changed.
_RENDERED: Final[Mapping[str, tuple[str, ...]]] = {
    "base_instructions": ("base_instructions",),
    "developer_instructions": ("developer_instructions",),
    "user_instructions": ("agents_md",),
    "approval_policy": ("permissions",),
    "sandbox": ("permissions", "environment"),
    "cwd": ("permissions", "environment", "agents_md"),
}


@attrs.define(eq=False)
class ChangedContext:
    """A `ContextLoader` that loads for the settings that a session has, with changes.

    Args:
        changes: fields of `SessionSettings`.
    """

    loader: ContextLoader
    changes: Mapping[str, Any]

    async def load(self, request: ContextRequest) -> ContextLoaded:
        return await self.loader.load(changed(request, self.changes))


@attrs.define(eq=False)
class RecordedContext:
    """The `ContextLoader` of a recording, turn by turn; after the last one, as that one.

    Args:
        changes: fields of `SessionSettings`. What is rendered from them is rendered again.
        live: renders it. None: nothing is changed.
        patient: whether retries wait. A recorded model need not be waited for.
    """

    recording: Recording
    changes: Mapping[str, Any]
    live: ContextLoader | None
    patient: bool
    playback: Playback = attrs.field(factory=Playback)
    _loaded: int = attrs.field(default=0, init=False)

    async def load(self, request: ContextRequest) -> ContextLoaded:
        """Return what was loaded then.

        Raises:
            Failed: it failed then.
            TurnlogError: the recording holds nothing for any turn, or the input is a file that
                cannot be read any more.
        """
        load = self._next()
        order = self.playback.order
        order.begun(load.asked_at)
        if load.was_stopped:
            await order.until_stopped(load.ended_at)
        else:
            with trio.CancelScope(shield=True):
                await order.before(load.ended_at)
        match load.ending:
            case ContextLoaded() as recorded:
                return await self._again(request, load, recorded)
            case EffectClosed() as closed:
                raise recorded_failure(closed)
            case None:
                raise RecordingMiss(
                    ErrorCode.NOTHING_RECORDED,
                    "the recording ends while this turn was being prepared.",
                )
            case _:
                return await self.load(request)  # its engine died: then it was loaded once more

    def _next(self) -> ContextLoad:
        loads = self.recording.loads
        self._loaded += 1
        if self._loaded <= len(loads):
            return loads[self._loaded - 1]
        for known in reversed(loads):
            if isinstance(known.ending, ContextLoaded):
                return known
        raise RecordingMiss(
            ErrorCode.NOTHING_RECORDED,
            "the recording holds no context that a turn could start with.",
        )

    async def _again(
        self, request: ContextRequest, load: ContextLoad, recorded: ContextLoaded
    ) -> ContextLoaded:
        settings, said = recorded.settings, recorded.input_json
        if request.input != load.input:
            said = await trio.to_thread.run_sync(user_message, request.input)
        retry = settings.retry
        if not self.patient:
            retry = structs.replace(retry, base_delay_ms=0, max_delay_ms=0)
        fragments = recorded.fragments
        again = {kind for name in self.changes for kind in _RENDERED.get(name, ())}
        if again and self.live is not None:
            fresh = await self.live.load(changed(request, self.changes))
            fragments = _merged(fragments, fresh.fragments, again)
        return structs.replace(
            recorded,
            effect=request.effect,
            settings=structs.replace(
                settings, session=_with(settings.session, self.changes), retry=retry
            ),
            fragments=fragments,
            input_json=said,
        )


def _merged(
    recorded: Sequence[ContextFragment], fresh: Sequence[ContextFragment], again: set[str]
) -> tuple[ContextFragment, ...]:
    """Return the recorded texts in their order, those of the kinds in `again` as they are now."""
    now = {fragment.kind: fragment for fragment in fresh if fragment.kind in again}
    kept = [now.pop(f.kind, None) if f.kind in again else f for f in recorded]
    return (*(fragment for fragment in kept if fragment is not None), *now.values())


def changed(request: ContextRequest, changes: Mapping[str, Any]) -> ContextRequest:
    """Return `request` for the settings with `changes`."""
    return structs.replace(request, settings=_with(request.settings, changes))


def _with(settings: SessionSettings, changes: Mapping[str, Any]) -> SessionSettings:
    return structs.replace(settings, **changes)
