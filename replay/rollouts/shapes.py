"""How Codex shows an item to its user: the `item_completed` of a message, a command, a patch."""

from typing import Any, Final

from turnlog.actors.core.state import Call
from turnlog.protocol.calls import CommandPreview, CommandReport, PatchReport
from turnlog.protocol.events import ToolFinished
from turnlog.protocol.json_values import objects, text_of

_NONE: Final[list[object]] = []
_SHOWN: Final = 64 << 10  # characters of a command's output


def message_item(item: dict[str, Any], is_user: bool, number: int) -> dict[str, Any] | None:
    """Return how a message is shown; None for what is not. `number` names it if nothing does."""
    name = text_of(item.get("id")) or f"item-{number}"
    match item.get("type"):
        case "message" if is_user:
            content: list[dict[str, Any]] = []
            for part in objects(item.get("content")):
                url = text_of(part.get("image_url"))
                text = text_of(part.get("text"))
                content.append(
                    {"type": "image", "image_url": url}
                    if url
                    else {"type": "text", "text": text, "text_elements": _NONE}
                )
            return {"type": "UserMessage", "id": name, "content": content}
        case "message" if item.get("role") == "assistant":
            said = [text_of(part.get("text")) for part in objects(item.get("content"))]
            parts = [{"type": "Text", "text": text} for text in said]
            return {"type": "AgentMessage", "id": name, "content": parts}
        case "reasoning":
            summary = [text_of(part.get("text")) for part in objects(item.get("summary"))]
            return {"type": "Reasoning", "id": name, "summary_text": summary, "raw_content": []}
        case _:
            return None


def command_item(call: Call, finished: ToolFinished) -> dict[str, Any] | None:
    """Return how a command that ran is shown."""
    report = finished.report
    if not isinstance(report, CommandReport):
        return None
    preview = call.plan.preview
    argv, cwd = (preview.command, preview.cwd) if isinstance(preview, CommandPreview) else ((), "/")
    seconds, rest = divmod(report.duration_ms, 1000)
    return {
        "type": "CommandExecution",
        "id": call.item.call_id,
        "process_id": None,
        "command": list(argv),
        "cwd": f"file://{cwd}",
        "parsed_cmd": [],
        "source": "unified_exec_startup",
        "status": "completed" if report.exit_code == 0 else "failed",
        "aggregated_output": (finished.full_output or finished.output)[:_SHOWN],
        "exit_code": report.exit_code,
        "duration": {"secs": seconds, "nanos": rest * 1_000_000},
    }


def patch_item(call: Call, finished: ToolFinished) -> dict[str, Any] | None:
    """Return how a patch is shown. The log has its files, but not what they held."""
    report = finished.report
    if not isinstance(report, PatchReport):
        return None
    changes: dict[str, Any] = {}
    for change in report.changes:
        if change.kind == "update":
            changes[change.path] = {"type": "update", "unified_diff": "", "move_path": None}
        else:
            changes[change.path] = {"type": change.kind, "content": ""}
    return {
        "type": "FileChange",
        "id": call.item.call_id,
        "changes": changes,
        "status": "completed" if report.applied else "failed",
        "stdout": finished.output,
        "stderr": "",
    }
