"""The line protocol of `exec --json`: one JSON object a line, as Codex 0.169 prints it.

Field names, their order and the values of `status` are what its clients match on. `code` is ours:
clients of Codex pass over a field that they do not know.
Source: measured on the real binary; see the tests' samples.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from turnlog.protocol.json_text import json_line, json_text
from turnlog.protocol.usage import TokenUsage

Status = Literal["in_progress", "completed", "failed"]


class _Line(Struct, frozen=True, tag_field="type"): ...


class ThreadStarted(_Line, frozen=True, tag="thread.started"):
    """The first line: the session's id."""

    thread_id: str


class TurnStarted(_Line, frozen=True, tag="turn.started"):
    """A turn has begun."""


class ItemStarted(_Line, frozen=True, tag="item.started"):
    """An item has begun: one of `Item`, or a web search."""

    item: Raw


class ItemUpdated(_Line, frozen=True, tag="item.updated"):
    """An item has changed, such as a plan."""

    item: Raw


class ItemCompleted(_Line, frozen=True, tag="item.completed"):
    """An item has ended."""

    item: Raw


class TurnCompleted(_Line, frozen=True, tag="turn.completed"):
    """The turn has ended well."""

    usage: TokenUsage  # over the whole session


class TurnError(Struct, frozen=True):
    """Why a turn has failed."""

    message: str
    code: str  # a value of `ErrorCode`


class TurnFailed(_Line, frozen=True, tag="turn.failed"):
    """The turn has failed."""

    error: TurnError


class Error(_Line, frozen=True, tag="error"):
    """An error, also one that a retry may resolve. Every command with `--json` prints it."""

    message: str
    code: str  # a value of `ErrorCode`


Line = (
    ThreadStarted
    | TurnStarted
    | ItemStarted
    | ItemUpdated
    | ItemCompleted
    | TurnCompleted
    | TurnFailed
    | Error
)


class AgentMessage(Struct, frozen=True):
    """A message of the model."""

    id: str
    type: Literal["agent_message"]
    text: str


class Reasoning(Struct, frozen=True):
    """A summary of the model's reasoning."""

    id: str
    type: Literal["reasoning"]
    text: str


class CommandExecution(Struct, frozen=True):
    """A command. `exit_code` is None while it runs."""

    id: str
    type: Literal["command_execution"]
    command: str
    aggregated_output: str
    exit_code: int | None
    status: Status


class Change(Struct, frozen=True):
    """One file that a patch changes."""

    path: str
    kind: Literal["add", "delete", "update"]


class FileChange(Struct, frozen=True):
    """A patch."""

    id: str
    type: Literal["file_change"]
    changes: tuple[Change, ...]
    status: Status


class Todo(Struct, frozen=True):
    """One step of the model's plan."""

    text: str
    completed: bool


class TodoList(Struct, frozen=True):
    """The model's plan, as a whole."""

    id: str
    type: Literal["todo_list"]
    items: tuple[Todo, ...]


class ErrorItem(Struct, frozen=True):
    """An error or a warning that ends nothing."""

    id: str
    type: Literal["error"]
    message: str


Item = AgentMessage | Reasoning | CommandExecution | FileChange | TodoList | ErrorItem


def encode_line(line: Line) -> bytes:
    """Return a line with its line feed. Text is raw UTF-8; only LF ends a line."""
    return json_line(line)


def encode_item(item: Item) -> Raw:
    """Return an item as the JSON that a line holds."""
    return Raw(json_text(item))


def encode_web_search(
    item_id: str, search_id: str, query: str, action: dict[str, Any] | None
) -> Raw:
    """Return a web search item. It has the key `id` twice; parsers keep the provider's."""
    head = msgspec.json.encode({"id": item_id, "type": "web_search"})
    tail = msgspec.json.encode({"id": search_id, "query": query, "action": action})
    return Raw(head[:-1] + b"," + tail[1:])
