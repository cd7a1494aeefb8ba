"""A session as a rollout that Codex resumes: the paginated form, with ordinals from 0.

What the model saw is taken from the fold of the events, not from their kinds: whatever made the
conversation grow becomes a `response_item`, and whatever put something else in its place becomes
`compacted`. So events of kinds that are not known here lose nothing of it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs
import msgspec
from msgspec import Raw

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import Call, State, Turn
from turnlog.protocol.codex_rollout import PRIVATE_KEY
from turnlog.protocol.envelope import Digest, Recorded, chain
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import (
    ContextLoaded,
    ItemsRecorded,
    ModelCompleted,
    SessionForked,
    SessionStarted,
    StepFailed,
    ToolDispatched,
    ToolFinished,
    ToolStarted,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import JsonText
from turnlog.protocol.json_values import is_object, objects, text_of
from turnlog.protocol.times import rfc3339, utc
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rollouts.shapes import command_item, message_item, patch_item
from turnlog.replay.rollouts.terms import codex_kind, error_info, turn_context

CLI_VERSION: Final = "0.169.0"  # the release whose form this is
_USER: Final = "user"  # kind of what the user said
_BASE: Final = "base_instructions"
_RAW_BREAK: Final = re.compile(r"[\r\n]")

_encode: Final = msgspec.json.Encoder().encode


def export_codex(records: Iterable[Recorded]) -> Iterator[bytes]:
    """Yield a session's rollout, line by line.

    Args:
        records: all events, from the first on; a fork's begin with its parent's, so that its
            rollout needs no other.

    Raises:
        UsageError: there is no event that begins a session.
    """
    events = list(records)
    if not events or not any(isinstance(r.event, SessionStarted) for r in events):
        raise UsageError(
            ErrorCode.USAGE_ERROR, "this session has no event yet, so there is nothing to export."
        )
    yield from _Writer(events, _last_id(events)).lines()


def rollout_name(records: Iterable[Recorded]) -> str:
    """Return the file name that Codex looks for, with the session's start in UTC."""
    events = list(records)
    start = utc(events[0].time_us)
    return f"rollout-{start:%Y-%m-%dT%H-%M-%S}-{_last_id(events)}.jsonl"


def _last_id(records: Iterable[Recorded]) -> str:
    """Return the session's id: of its start, or of the last fork."""
    session = ""
    for record in records:
        if isinstance(record.event, SessionStarted | SessionForked):
            session = record.event.session
    return session


def dated_folder(records: Iterable[Recorded]) -> str:
    """Return where below its `sessions` Codex would keep the session: by day, in UTC."""
    start_us = next((record.time_us for record in records), 0)
    return f"{utc(start_us):%Y/%m/%d}"


@attrs.define
class _Writer:
    records: list[Recorded]
    _own_id: str  # of the session as a whole: a fork's own, also in its parent's part
    _state: State = attrs.field(factory=State)
    _shown: int = 0  # parts of the conversation that stand in the rollout
    _digest: Digest = State().history.digest
    _ordinal: int = 0
    _turn_id: str = ""
    _turn_us: int = 0
    _turn_usage: TokenUsage = attrs.field(factory=TokenUsage)
    _used: TokenUsage = attrs.field(factory=TokenUsage)
    _window: int = 1
    _base: JsonText | None = None  # the item that `session_meta` holds
    _started: dict[EffectId, int] = attrs.field(factory=dict[EffectId, int])  # tools, time

    def lines(self) -> Iterator[bytes]:
        yield self._meta()
        for record in self.records:
            tool = self._tool_of(record)
            rebuild((record,), self._state)
            yield from self._before(record)
            yield from self._grown(record)
            yield from self._after(record, tool)

    # --- lines ------------------------------------------------------------------------------------

    def _line(
        self, kind: str, time_us: int, payload: object, metadata: dict[str, Any] | None = None
    ) -> bytes:
        line: dict[str, Any] = {
            "timestamp": rfc3339(time_us, "milliseconds"),
            "ordinal": self._ordinal,
            "type": kind,
            "payload": payload,
        }
        if metadata is not None:
            line["metadata"] = metadata
        self._ordinal += 1
        return _encode(line) + b"\n"

    def _event(self, time_us: int, kind: str, **fields: object) -> bytes:
        return self._line("event_msg", time_us, {"type": kind, **fields})

    def _completed(self, time_us: int, item: dict[str, Any], started_us: int = 0) -> bytes:
        return self._event(
            time_us,
            "item_completed",
            thread_id=self._own_id,
            turn_id=self._turn_id,
            item=item,
            started_at_ms=(started_us or time_us) // 1000,
            completed_at_ms=time_us // 1000,
        )

    def _meta(self) -> bytes:
        first = self.records[0]
        started = first.event
        assert isinstance(started, SessionStarted)
        payload: dict[str, Any] = {
            "id": self._own_id,
            "session_id": self._own_id,
            "timestamp": rfc3339(first.time_us, "milliseconds"),
            "cwd": started.settings.cwd,
            "runtime_workspace_roots": [started.settings.cwd],
            "originator": started.originator,
            "cli_version": CLI_VERSION,
            "source": "exec",
            "thread_source": "user",
            "model_provider": started.settings.model_provider,
            "history_mode": "paginated",
        }
        base = self._find_base()
        if base is not None:
            payload["base_instructions"] = {"text": base}
        return self._line("session_meta", first.time_us, payload)

    def _find_base(self) -> str | None:
        """Return the instructions that the conversation begins with: they are no item there."""
        for record in self.records:
            if isinstance(record.event, ItemsRecorded):
                item = record.event.items[0] if record.event.items else None
                if item is None or item.kind != _BASE:
                    return None
                self._base = item.item_json
                content = objects(msgspec.json.decode(item.item_json).get("content"))
                return text_of(content[0].get("text")) if content else ""
        return None

    # --- a turn -----------------------------------------------------------------------------------

    def _before(self, record: Recorded) -> Iterator[bytes]:
        match record.event:
            case TurnOpened(turn_id=turn_id):
                self._turn_id, self._turn_us = turn_id, record.time_us
                self._turn_usage = TokenUsage()
                yield self._event(
                    record.time_us,
                    "task_started",
                    turn_id=turn_id,
                    started_at=record.time_us // 1_000_000,
                    model_context_window=None,
                    collaboration_mode_kind="default",
                )
            case ContextLoaded(settings=settings) if self._state.in_hand.closes is not None:
                context = {"turn_id": self._turn_id, **turn_context(settings.session)}
                yield self._line("turn_context", record.time_us, context)
            case _:
                pass

    def _grown(self, record: Recorded) -> Iterator[bytes]:
        """Yield what the conversation has got by an event, or what has taken its place."""
        history = self._state.history
        new, digest = history.texts(self._shown), self._digest
        for part in new:
            digest = chain(digest, part.encode())
        if digest == history.digest and len(history.parts) >= self._shown:
            kinds = _kinds(record, len(new))
            self._shown, self._digest = len(history.parts), digest
            for part, kind in zip(new, kinds, strict=True):
                yield from self._item(record.time_us, part, kind)
            return
        self._shown, self._digest = len(history.parts), history.digest
        self._window += 1
        left = [part for part in history.texts() if part != self._base]
        payload = {
            "message": "",
            "replacement_history": [_raw(part) for part in left],
            "window_number": self._window,
        }
        yield self._line("compacted", record.time_us, payload)

    def _item(self, time_us: int, part: JsonText, kind: str | None) -> Iterator[bytes]:
        if kind == _BASE and part == self._base:
            return
        item = _decoded(part)
        if kind is None:
            yield self._line("response_item", time_us, _raw(part))
        else:
            name = "user.text" if kind == _USER else codex_kind(kind)
            count = len(objects(item.get("content")))
            own = {"turn_id": self._turn_id, "content_item_kinds": [name] * count}
            told = {**item, PRIVATE_KEY: own}
            yield self._line("response_item", time_us, told)
        if (shown := message_item(item, kind == _USER, self._ordinal)) is not None:
            yield self._completed(time_us, shown)

    def _tool_of(self, record: Recorded) -> Call | None:
        """Return the call that a fact ends, before the fact closes its effect."""
        if isinstance(record.event, ToolStarted):
            self._started[record.event.effect] = record.time_us
        turn = self._state.turn
        if not isinstance(record.event, ToolFinished) or not isinstance(turn, Turn):
            return None
        running = self._state.outstanding.get(record.event.effect)
        return turn.find(running.call) if isinstance(running, ToolDispatched) else None

    def _after(self, record: Recorded, call: Call | None) -> Iterator[bytes]:
        in_time = self._state.in_hand.closes is not None
        match record.event:
            case ModelCompleted(usage=TokenUsage() as usage) if in_time:
                yield from self._usage(record, record.event, usage)
            case ToolFinished() as finished if call is not None:
                item = command_item(call, finished) or patch_item(call, finished)
                if item is not None:
                    started_us = self._started.get(finished.effect, 0)
                    yield self._completed(record.time_us, item, started_us)
            case TurnEnded() as ended:
                yield self._ended(record, ended)
            case StepFailed(message=message):
                yield self._failed(record, message, "crashed")
            case _:
                pass

    def _usage(
        self, record: Recorded, completed: ModelCompleted, usage: TokenUsage
    ) -> Iterator[bytes]:
        self._turn_usage += usage
        self._used += usage
        payload = {
            "thread_id": self._own_id,
            "turn_id": self._turn_id,
            "session_id": self._own_id,
            "root_turn_id": self._turn_id,
            "response_id": completed.response_id,
            "usage": _counts(usage),
            "turn_token_usage": _counts(self._turn_usage),
            "thread_token_usage": _counts(self._used),
        }
        yield self._line("token_usage_record", record.time_us, payload)
        info = {
            "total_token_usage": _counts(self._used),
            "last_token_usage": _counts(usage),
            "model_context_window": None,
        }
        yield self._event(record.time_us, "token_count", info=info, rate_limits=None)

    def _ended(self, record: Recorded, ended: TurnEnded) -> bytes:
        if ended.status == "interrupted":
            return self._event(
                record.time_us, "turn_aborted", turn_id=self._turn_id, reason="interrupted"
            )
        if ended.status == "failed":
            error = ended.error
            code, message = (error.code, error.message) if error else ("", "the turn failed")
            return self._failed(record, message, code, ended.last_agent_message)
        return self._task_complete(record, ended.last_agent_message)

    def _failed(self, record: Recorded, message: str, code: str, last: str | None = None) -> bytes:
        error = {"message": message, "codex_error_info": error_info(code)}
        return self._task_complete(record, last, error=error)

    def _task_complete(self, record: Recorded, last: str | None, **more: object) -> bytes:
        return self._event(
            record.time_us,
            "task_complete",
            turn_id=self._turn_id,
            last_agent_message=last,
            started_at=self._turn_us // 1_000_000,
            completed_at=record.time_us // 1_000_000,
            duration_ms=(record.time_us - self._turn_us) // 1000,
            **more,
        )


def _kinds(record: Recorded, count: int) -> list[str | None]:
    """Return the kinds of new parts; None is the model's own, or an output."""
    if isinstance(record.event, ItemsRecorded) and len(record.event.items) == count:
        return [item.kind for item in record.event.items]
    return [None] * count


def _counts(usage: TokenUsage) -> dict[str, int]:
    counts: dict[str, int] = msgspec.to_builtins(usage)
    return {**counts, "total_tokens": usage.total_tokens}


def _decoded(part: JsonText) -> dict[str, Any]:
    try:
        value: object = msgspec.json.decode(part)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return {}
    return value if is_object(value) else {}


def _raw(part: JsonText) -> Raw:
    """Return JSON text as it is, but on one line: outside of its strings, a break is a blank."""
    return Raw(_RAW_BREAK.sub(" ", part).encode())
