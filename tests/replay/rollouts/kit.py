"""Rollouts for tests: those that were recorded, and lines written by hand."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from turnlog.actors.core.texts import TURN_ABORTED
from turnlog.replay.rollouts.importing import Import, import_rollout
from turnlog.replay.rollouts.parents import finder, whole
from turnlog.replay.rollouts.reading import RolloutFile, parse_rollout, read_rollout
from turnlog.replay.verify.verifier import divergences

_DATA: Final = Path(__file__).parents[2] / "data"
RECORDED: Final = sorted(
    [*(_DATA / "rollouts").glob("*.jsonl"), *(_DATA / "recorded_rollouts").glob("*.jsonl")],
    key=lambda path: path.stem,
)
SESSION: Final = "01900000-0000-7000-8000-00000000000a"
_OWN: Final = "internal_chat_message_metadata_passthrough"

Json = dict[str, Any]


def named(name: str) -> Path:
    return next(path for path in RECORDED if path.stem == name)


def read_whole(path: Path) -> RolloutFile:
    return whole(read_rollout(path), finder({}, path))


def imported(path: Path) -> Import:
    return checked(import_rollout(read_whole(path)))


def checked(found: Import) -> Import:
    """Return an import, each of whose sessions replays without a difference."""
    for made in found.sessions:
        assert list(divergences(made.records)) == []
        assert len(made.sealed) == len(made.records)
    return found


def history(found: Import) -> list[Json]:
    """Return the newest session's conversation, decoded."""
    return [json.loads(part) for part in found.newest.history]


# --- lines by hand --------------------------------------------------------------------------------


def line(kind: str, payload: Json, ordinal: int | None = None, second: int = 0) -> Json:
    number = {} if ordinal is None else {"ordinal": ordinal}
    time = f"2026-11-21T10:{second // 60:02}:{second % 60:02}.000Z"
    return {"timestamp": time, **number, "type": kind, "payload": payload}


def rollout(*payloads: tuple[str, Json], paginated: bool = True) -> bytes:
    """Return a file of a session whose lines after the first are `payloads`."""
    meta: Json = {"id": SESSION, "timestamp": "2026-11-21T10:00:00Z", "cwd": "/home/user/project"}
    lines = [("session_meta", meta), *payloads]
    return text(
        line(kind, payload, number if paginated else None, number)
        for number, (kind, payload) in enumerate(lines)
    )


def text(lines: Iterable[Json]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in lines).encode()


def of(*payloads: tuple[str, Json], paginated: bool = True) -> Import:
    """Return what such a file becomes."""
    file = parse_rollout(rollout(*payloads, paginated=paginated), "by-hand.jsonl")
    return checked(import_rollout(file))


def item(payload: Json, *kinds: str) -> tuple[str, Json]:
    own = {_OWN: {"content_item_kinds": list(kinds)}} if kinds else {}
    return "response_item", {**payload, **own}


def event(kind: str, **fields: object) -> tuple[str, Json]:
    return "event_msg", {"type": kind, **fields}


def message(role: str, *texts: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": one} for one in texts],
    }


def said(words: str) -> tuple[str, Json]:
    return item(message("user", words), "user.text")


def answered(words: str) -> tuple[str, Json]:
    return item(message("assistant", words))


def call(call_id: str, name: str = "exec_command") -> Json:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"}


def output(call_id: str, words: str = "ok") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": words}


def started(turn: str = "t1") -> tuple[str, Json]:
    return event("task_started", turn_id=turn)


def completed(turn: str = "t1") -> tuple[str, Json]:
    return event("task_complete", turn_id=turn, last_agent_message=None)


# --- what a rollout says the conversation is -----------------------------------------------------


def told(path: Path) -> list[Json]:
    """Return the conversation that the items of a rollout without a compaction make.

    Read without any of the code that is tested. What a session cannot hold as it is there
    is written as the session has it: a message of the program's in several parts, an output in
    parts, and the words by which the model is told that its user stopped it.
    """
    lines = [json.loads(one) for one in path.read_text().split("\n") if one]
    meta = lines[0]["payload"]
    parent: list[Json] = []
    if base := meta.get("history_base"):
        files = [other for other in path.parent.glob("*.jsonl") if other != path]
        metas = {other: json.loads(other.read_text().split("\n")[0]) for other in files}
        above = next(f for f, m in metas.items() if m["payload"]["id"] == base["thread_id"])
        parent = [json.loads(one) for one in above.read_text().split("\n") if one]
        parent = [one for one in parent if one["ordinal"] < base["end_ordinal_exclusive"]]
    parts = [message("developer", meta["base_instructions"]["text"])]
    for one in [*parent, *lines]:
        if one["type"] == "response_item":
            parts += _parts(one["payload"])
    return parts


def _parts(payload: Json) -> list[Json]:
    kinds = payload.get(_OWN, {}).get("content_item_kinds", [])
    plain = {name: value for name, value in payload.items() if name != _OWN}
    if payload["type"].endswith("_output"):
        words = payload["output"]
        if not isinstance(words, str):
            images: list[Json] = [piece for piece in words if piece["type"] == "input_image"]
            words = "\n".join(piece["text"] for piece in words if piece["type"] == "input_text")
            words = [{"type": "input_text", "text": words}, *images] if images else words
        return [{"type": payload["type"], "call_id": payload["call_id"], "output": words}]
    if payload.get("role") not in ("developer", "user") or kinds == ["user.text"]:
        return [plain]
    if kinds == ["generic.turn_aborted"]:
        return [message("user", TURN_ABORTED)]
    return [message(payload["role"], part["text"]) for part in payload["content"]]
