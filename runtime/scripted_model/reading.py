"""Script files: JSON or TOML for people, or a recorded rollout.

    {"responses": [
        "Plain text is a message.",
        {"items": [{"reasoning": "**Plan**"},
                   {"call": "exec_command", "arguments": {"cmd": "ls"}}]},
        {"message": "One item can stand in the response itself.", "delay_ms": 20},
        {"status": 429, "headers": {"retry-after": "1"}, "repeat": 2},
        {"message": "partial", "cut_after": 3},
        {"message": "The agent that was told to count says this.", "only_for": "count"},
        {"failed": {"code": "context_length_exceeded", "message": "too long"}}]}

A list alone stands for `responses`. Those with the same `only_for` answer, in their order, the
requests in which a user's message holds that text, and no others: agents that work at the same
time get their own. All fields are those of `Script` and `Response`. An item is a
text or one of: `message` (and `phase`), `reasoning` (a text or a list; and `content`,
`encrypted_content`), `call` (and `arguments`, `call_id`, `namespace`), `custom` (and `input`,
`call_id`), `item` (any item of the API, sent as it is). `times` repeats the text of a message
or an input, which makes events of any size.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from turnlog.protocol.codex_rollout import MAX_FILE
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.json_values import is_list, is_object
from turnlog.runtime.input_file import read_input
from turnlog.runtime.scripted_model import script as make
from turnlog.runtime.scripted_model.rollout import parse_rollout
from turnlog.runtime.scripted_model.script import Item, Response, Script

_MAX_TEXT: Final = 64 * 1024 * 1024  # code points that `times` may make

_T = TypeVar("_T")
_Times = Annotated[int, Meta(ge=1)]


class _Message(Struct, forbid_unknown_fields=True):
    message: str
    phase: str | None = None
    times: _Times = 1
    id: str | None = None

    def item(self) -> Item:
        text = _repeated(self.message, self.times)
        return make.message(text, phase=self.phase, item_id=self.id)


class _Reasoning(Struct, forbid_unknown_fields=True):
    reasoning: str | list[str]
    content: str | None = None
    encrypted_content: str | None = None
    id: str | None = None

    def item(self) -> Item:
        parts = [self.reasoning] if isinstance(self.reasoning, str) else self.reasoning
        return make.reasoning(
            *parts,
            content=self.content,
            encrypted_content=self.encrypted_content,
            item_id=self.id,
        )


class _Call(Struct, forbid_unknown_fields=True):
    call: str
    arguments: dict[str, Any] | str = {}
    call_id: str | None = None
    namespace: str | None = None
    id: str | None = None

    def item(self) -> Item:
        return make.call(
            self.call,
            self.arguments,
            call_id=self.call_id,
            namespace=self.namespace,
            item_id=self.id,
        )


class _Custom(Struct, forbid_unknown_fields=True):
    custom: str
    input: str
    times: _Times = 1
    call_id: str | None = None
    id: str | None = None

    def item(self) -> Item:
        text = _repeated(self.input, self.times)
        return make.custom(self.custom, text, call_id=self.call_id, item_id=self.id)


class _Raw(Struct, forbid_unknown_fields=True):
    item_: dict[str, Any] = msgspec.field(name="item")

    def item(self) -> Item:
        return self.item_


_ITEM_FORMS: Final[Mapping[str, type[_Message | _Reasoning | _Call | _Custom | _Raw]]] = {
    "message": _Message,
    "reasoning": _Reasoning,
    "call": _Call,
    "custom": _Custom,
    "item": _Raw,
}


def load_script(path: Path) -> Script:
    """Read a script from a .json, .toml or .jsonl file; .jsonl is a recorded rollout.

    Raises:
        UsageError: the file cannot be read, or is over MAX_FILE bytes.
        UsageError: it is no script. The text names the file, the place and what belongs there.
    """
    if path.suffix not in {".json", ".toml", ".jsonl"}:
        raise UsageError(
            ErrorCode.SCRIPT_INVALID,
            f"{path}: expected a .json or .toml script, or a .jsonl rollout, "
            f"not {path.suffix or 'a name without an ending'}",
        )
    return parse_script(read_input(path, limit=MAX_FILE), str(path))


def parse_script(data: bytes, name: str) -> Script:
    """Return the script in `data`. The ending of `name` says how to read it; .json if it has none.

    Raises:
        UsageError: see `load_script`.
    """
    if name.endswith(".jsonl"):
        return parse_rollout(data, name).script()
    try:
        text = data.decode("utf-8-sig")
        raw: object = tomllib.loads(text) if name.endswith(".toml") else _read_json(text)
    except UnicodeDecodeError as problem:
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{name}: expected UTF-8; byte {problem.start} is not"
        ) from problem
    except RecursionError as problem:
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{name}: values are nested too deep"
        ) from problem
    except ValueError as problem:
        raise UsageError(ErrorCode.SCRIPT_INVALID, f"{name}: {problem}") from problem
    if is_list(raw):
        raw = {"responses": raw}
    if not is_object(raw) or not is_list(raw.get("responses")):
        raise UsageError(
            ErrorCode.SCRIPT_INVALID,
            f"{name}: expected `responses`, a list with one entry per request",
        )
    if not raw["responses"]:
        raise UsageError(ErrorCode.SCRIPT_INVALID, f"{name}: responses: expected at least one")
    responses = [
        _response(entry, f"{name}: responses[{index}]")
        for index, entry in enumerate(raw["responses"])
    ]
    return _convert(raw | {"responses": responses}, Script, name, separator=": ")


def _read_json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        json.loads(text)  # its error has line and column
        raise ValueError(
            f"{problem}; expected strict JSON, without NaN or half of a surrogate pair"
        ) from problem


def _response(entry: object, place: str) -> Response:
    if isinstance(entry, str):
        entry = {"message": entry}
    if not is_object(entry):
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{place}: expected a text or an object, got {_kind(entry)}"
        )
    fields = {name: value for name, value in entry.items() if name in Response.__struct_fields__}
    rest = {name: value for name, value in entry.items() if name not in fields}
    items = fields.get("items", [])
    if not is_list(items):
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{place}.items: expected a list, got {_kind(items)}"
        )
    made = [_item(item, f"{place}.items[{index}]") for index, item in enumerate(items)]
    if rest.keys() & _ITEM_FORMS.keys():
        if made:
            raise UsageError(
                ErrorCode.SCRIPT_INVALID,
                f"{place}: expected `items`, or one item in their place, not both",
            )
        made = [_item(rest, place)]
        rest = {}
    return _convert(fields | rest | {"items": made}, Response, place)


def _item(entry: object, place: str) -> Item:
    if isinstance(entry, str):
        entry = {"message": entry}
    if not is_object(entry):
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{place}: expected a text or an object, got {_kind(entry)}"
        )
    forms = [name for name in _ITEM_FORMS if name in entry]
    if len(forms) != 1:
        found = f"it has {' and '.join(forms)}" if forms else f"it has {', '.join(entry) or 'none'}"
        hint = "; put several under `items`" if forms else "; the API's own form goes under `item`"
        raise UsageError(
            ErrorCode.SCRIPT_INVALID,
            f"{place}: expected one of {', '.join(_ITEM_FORMS)}; {found}{hint}",
        )
    try:
        return _convert(entry, _ITEM_FORMS[forms[0]], place).item()
    except ValueError as problem:
        raise UsageError(ErrorCode.SCRIPT_INVALID, f"{place}: {problem}") from problem


def _convert(value: object, kind: type[_T], place: str, separator: str = ".") -> _T:
    """Return `value` as a `kind`, or raise UsageError with the place inside of it."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        what, _, inner = str(problem).partition(" - at `$")
        inner = inner.rstrip("`").lstrip(".")
        where = f"{place}{separator}{inner}" if inner else place
        raise UsageError(
            ErrorCode.SCRIPT_INVALID, f"{where}: {what}{_suggestion(what, kind)}"
        ) from problem


def _suggestion(what: str, kind: type) -> str:
    """Return the name that was probably meant, if an unknown one was given."""
    if "unknown field" not in what:
        return ""
    known: tuple[str, ...] = getattr(kind, "__struct_encode_fields__", ())
    close = difflib.get_close_matches(what.split("`")[-2], known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"


def _repeated(text: str, times: int) -> str:
    if len(text) * times > _MAX_TEXT:
        raise ValueError(f"`times` makes a text of over {_MAX_TEXT} code points")
    return text * times


def _kind(value: object) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
    }
    return "null" if value is None else names.get(type(value), "a number")
