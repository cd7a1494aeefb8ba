"""Taking texts out of a session: each match of a pattern by the same stand-in wherever it is."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec
from msgspec import Struct, structs

from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.session import decisions
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import GENESIS, SCHEMA, Recorded, UnknownEvent, chain
from turnlog.protocol.events import Decision, SessionDecision
from turnlog.protocol.files import FileImage, FileMark
from turnlog.protocol.ids import EffectId, SessionId, TurnId
from turnlog.protocol.view import JSON_SUFFIX
from turnlog.replay.files.portable import event_line, seal_line

STAND_IN: Final = "[redacted-{number}]"
_NAMES: Final[frozenset[object]] = frozenset({EffectId, SessionId, TurnId})
# Fields, of events and of items, that decisions go by or name things with.
_KEPT: Final = frozenset(
    {"call_id", "code", "digest", "id", "input_digest", "kind", "op_id", "question"}
    | {"role", "status", "tool", "type"}
)
S = TypeVar("S", bound=Struct)


@attrs.define
class Redaction:
    """What has been taken out so far: equal texts have equal stand-ins."""

    patterns: Sequence[re.Pattern[str]]
    found: dict[str, str] = attrs.field(factory=dict[str, str])  # text: its stand-in

    def text(self, text: str) -> str:
        for pattern in self.patterns:
            text = pattern.sub(self._stand_in, text)
        return text

    def _stand_in(self, match: re.Match[str]) -> str:
        text = match[0]
        if not text:
            return text
        return self.found.setdefault(text, STAND_IN.format(number=len(self.found) + 1))

    def json_text(self, text: str) -> str:
        """Return JSON text with its strings redacted. Without a match it stays as it is."""
        try:
            value: object = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return self.text(text)
        redacted = self.value(value, Any)
        return text if redacted == value else msgspec.json.encode(redacted).decode()

    def value(self, value: object, hint: object) -> object:
        """Return a value with its texts redacted; what is none by its type, and names, stay."""
        match value:
            case str():
                return value if _is_fixed(hint) else self.text(value)
            case Struct():
                return self.struct(value)
            case tuple() | list():
                inner = get_args(hint)[0] if get_origin(hint) in (tuple, list) else Any
                items = [self.value(item, inner) for item in cast(Iterable[object], value)]
                return tuple(items) if isinstance(value, tuple) else items
            case dict():
                pairs = cast(dict[str, object], value).items()
                if _has_path_keys(hint):
                    return {self.text(key): self.value(item, Any) for key, item in pairs}
                return {key: item if key in _KEPT else self.value(item, Any) for key, item in pairs}
            case _:
                return value

    def base64(self, text: str) -> str:
        """Return content in base64 with what is matched of its bytes taken out."""
        content = b64decode(text).decode("latin-1")
        redacted = self.text(content)
        same = redacted == content
        return text if same else b64encode(redacted.encode("latin-1", "replace")).decode()

    def struct(self, value: S) -> S:
        changes: dict[str, object] = {}
        if isinstance(value, FileImage) and value.base64 is not None:
            changes["base64"] = self.base64(value.base64)
        for name, hint in _hints(type(value)).items():
            if name in _KEPT or name in changes:
                continue
            before = getattr(value, name)
            is_json = name.endswith(JSON_SUFFIX) and isinstance(before, str)
            after = self.json_text(before) if is_json else self.value(before, hint)
            if after != before:
                changes[name] = after
        return structs.replace(value, **changes) if changes else value


@cache
def _hints(kind: type[Struct]) -> dict[str, object]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in kind.__struct_fields__}


def _is_fixed(hint: object) -> bool:
    """Say whether a text is one of a few words, or a name that turnlog gave."""
    if get_origin(hint) in (Union, UnionType):
        return any(_is_fixed(member) for member in get_args(hint))
    return get_origin(hint) is Literal or hint in _NAMES


def _has_path_keys(hint: object) -> bool:
    """Say whether a dict's keys are texts like any other: paths, and no names of fields."""
    return get_origin(hint) is dict and get_args(hint)[1] is FileMark


def redact(records: Iterable[Recorded], patterns: Iterable[re.Pattern[str]]) -> Iterator[Recorded]:
    """Yield a session with what `patterns` match taken out of its texts.

    A decision that replays becomes what is decided about the changed facts, so that it replays
    still; in one that does not, the texts are replaced. Events of unknown kinds stay as they
    are, since what is in them cannot be told. A text that was cut may keep a part of a match;
    where a decision goes by the length of texts, it may be another one now.

    Args:
        records: all events, from the first on.
    """
    redaction = Redaction(tuple(patterns))
    before, after, digest = State(), State(), GENESIS
    then: Iterator[SessionDecision] = iter(())  # what is decided about the facts as they were,
    now: Iterator[SessionDecision] = iter(())  # and as they are now
    for record in records:
        event = record.event
        if isinstance(event, Decision):
            as_before, decided = next(then, None), next(now, None)
            is_told = as_before == event and type(decided) is type(event)
            event = decided if is_told and decided is not None else redaction.struct(event)
        elif not isinstance(event, UnknownEvent):
            then, event = decisions(before, event), redaction.struct(event)
            now = decisions(after, event)
        rebuild((record,), before)
        record = structs.replace(record, event=event)
        digest = chain(digest, seal_line(event_line(record), SCHEMA)[0])
        record = structs.replace(record, digest=digest)
        rebuild((record,), after)
        yield record
