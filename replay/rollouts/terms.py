"""Codex's terms and ours: settings, kinds of context, failures, and what is known of a call."""

import json
from typing import Any, Final, TypeVar, cast, get_args

import msgspec

from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    FailureCode,
    FileChange,
    ModelFailure,
    PatchPreview,
    PatchReport,
    ToolOutcome,
    ToolPlan,
)
from turnlog.protocol.images import Image
from turnlog.protocol.json_values import is_object, objects, text_of
from turnlog.protocol.settings import (
    ApprovalPolicy,
    ReasoningEffort,
    ReasoningSummary,
    SandboxMode,
    SandboxPolicy,
    SessionSettings,
    SettingsUpdate,
)

# Codex's name for a part of the context, and ours. Source: `content_item_kinds` of its rollouts.
CONTEXT_KINDS: Final = {
    "permissions.instructions": "permissions",
    "agents_md.instructions": "agents_md",
    "environments.environment_context": "environment",
    "generic.turn_aborted": "turn_aborted",
}
OUR_KIND: Final = "turnlog."  # begins the kind of what only turnlog tells the model
_BEGINS: Final = {
    "<permissions instructions>": "permissions",
    "# AGENTS.md instructions": "agents_md",
    "<environment_context>": "environment",
}
# `codex_error_info`, and the code here.
FAILURES: Final[dict[str, FailureCode]] = {
    "context_window_exceeded": "context_window_exceeded",
    "usage_limit_exceeded": "usage_limit_reached",
    "server_overloaded": "server_error",
    "internal_server_error": "server_error",
    "http_connection_failed": "connection_failed",
    "response_stream_connection_failed": "connection_failed",
    "response_stream_disconnected": "stream_disconnected",
    "response_too_many_failed_attempts": "server_error",
    "unauthorized": "unauthorized",
    "bad_request": "bad_request",
}
_SANDBOXES: Final = frozenset(get_args(SandboxMode))
_POLICIES: Final = frozenset(get_args(ApprovalPolicy))
_EFFORTS: Final = frozenset(get_args(ReasoningEffort))
_SUMMARIES: Final = frozenset(get_args(ReasoningSummary))
_CHANGES: Final = frozenset({"add", "update", "delete"})

_L = TypeVar("_L", bound=str)


def context_kind(told: str, text: str) -> str:
    """Return our name of a part of the context, by Codex's name for it or by how it begins."""
    if told.startswith(OUR_KIND):
        return told.removeprefix(OUR_KIND)
    if told.startswith("user."):
        return "retained"  # what the user had said, where a compaction has left it
    if told and told != "unknown":
        return CONTEXT_KINDS.get(told, told)
    return next((kind for begin, kind in _BEGINS.items() if text.startswith(begin)), "codex")


def codex_kind(kind: str) -> str:
    """Return Codex's name of a part of the context; the inverse of `context_kind`."""
    known = {ours: theirs for theirs, ours in CONTEXT_KINDS.items()}
    if kind in known:
        return known[kind]
    return kind if "." in kind else OUR_KIND + kind


def session_settings(meta: dict[str, Any], context: dict[str, Any]) -> SessionSettings:
    """Return the settings that a session starts with, by its first lines."""
    base = meta.get("base_instructions")
    first = SessionSettings(
        cwd=text_of(meta.get("cwd")) or "/",
        model="unknown",
        model_provider=text_of(meta.get("model_provider")) or "openai",
        base_instructions=text_of(base.get("text")) or None if is_object(base) else None,
    )
    return update_of(context, first).apply(first)


def update_of(context: dict[str, Any], settings: SessionSettings) -> SettingsUpdate:
    """Return what a `turn_context` changes of `settings`. What it does not tell stays."""
    update = SettingsUpdate(
        cwd=text_of(context.get("cwd")) or settings.cwd,
        model=text_of(context.get("model")) or settings.model,
        approval_policy=_one_of(
            _POLICIES, context.get("approval_policy"), settings.approval_policy
        ),
        sandbox=_sandbox(context.get("sandbox_policy"), settings.sandbox),
        reasoning_effort=_one_of(_EFFORTS, _effort(context), settings.reasoning_effort),
        reasoning_summary=_one_of(_SUMMARIES, context.get("summary"), settings.reasoning_summary),
    )
    changed = {
        name: value
        for name in update.__struct_fields__
        if (value := getattr(update, name)) != getattr(settings, name)
    }
    return SettingsUpdate(**changed)


def _effort(context: dict[str, Any]) -> object:
    if "effort" in context:
        return context["effort"]
    mode = context.get("collaboration_mode")
    settings = mode.get("settings") if is_object(mode) else None
    return settings.get("reasoning_effort") if is_object(settings) else None


def _one_of(known: frozenset[_L], value: object, otherwise: Any) -> Any:  # noqa: ANN401
    return value if isinstance(value, str) and value in known else otherwise


def _sandbox(value: object, otherwise: SandboxPolicy) -> SandboxPolicy:
    if not is_object(value) or text_of(value.get("type")) not in _SANDBOXES:
        return otherwise
    try:
        return msgspec.convert({**value, "mode": value["type"]}, SandboxPolicy)
    except msgspec.ValidationError:
        return SandboxPolicy(mode=value["type"])


def turn_context(settings: SessionSettings) -> dict[str, Any]:
    """Return settings as a `turn_context` tells them."""
    sandbox = settings.sandbox
    policy: dict[str, Any] = {"type": sandbox.mode}
    if sandbox.mode == "workspace-write":
        policy |= {
            "writable_roots": list(sandbox.writable_roots),
            "network_access": sandbox.network_access,
            "exclude_tmpdir_env_var": sandbox.exclude_tmpdir_env_var,
            "exclude_slash_tmp": sandbox.exclude_slash_tmp,
        }
    told: dict[str, Any] = {
        "cwd": settings.cwd,
        "approval_policy": settings.approval_policy,
        "sandbox_policy": policy,
        "model": settings.model,
        "summary": settings.reasoning_summary or "auto",
    }
    if settings.reasoning_effort is not None:
        told["effort"] = settings.reasoning_effort
    return told


def failure_of(error: dict[str, Any]) -> ModelFailure:
    """Return the failure that an error of a turn tells of."""
    info = error.get("codex_error_info")
    name = next(iter(info), "") if is_object(info) else text_of(info)
    message = text_of(error.get("message")) or "the turn failed; the rollout does not say why"
    return ModelFailure(FAILURES.get(name, "server_error"), message)


def error_info(code: str) -> str:
    """Return the `codex_error_info` of a failure here."""
    return next((theirs for theirs, ours in FAILURES.items() if ours == code), "other")


def plan_of(name: str, report: dict[str, Any] | None) -> ToolPlan:
    """Return what would have been said of a call before it ran, as far as it is recorded."""
    item = report.get("item") if report else None
    if not is_object(item):
        return ToolPlan(name, parallel=True)
    match item.get("type"):
        case "CommandExecution":
            command = item.get("command")
            argv = tuple(str(word) for word in cast(list[object], command)) if command else ()
            cwd = text_of(item.get("cwd")).removeprefix("file://")
            return ToolPlan(name, parallel=True, preview=CommandPreview(argv, cwd))
        case "FileChange":
            return ToolPlan(name, parallel=True, preview=PatchPreview(_changes(item)))
        case _:
            return ToolPlan(name, parallel=True)


def report_of(
    report: dict[str, Any] | None,
) -> tuple[ToolOutcome, CommandReport | PatchReport | None]:
    """Return how a call ended, as far as it is recorded."""
    item = report.get("item") if report else None
    if not is_object(item):
        return "done", None
    done: ToolOutcome = "done" if item.get("status") == "completed" else "failed"
    match item.get("type"):
        case "CommandExecution":
            code = item.get("exit_code")
            code = code if isinstance(code, int) else -1
            return done, CommandReport(code, _milliseconds(item.get("duration")))
        case "FileChange":
            return done, PatchReport(_changes(item), applied=done == "done")
        case _:
            return done, None


def _changes(item: dict[str, Any]) -> tuple[FileChange, ...]:
    changes = item.get("changes")
    if not is_object(changes):
        return ()
    return tuple(
        FileChange(path, change["type"])
        for path, change in sorted(changes.items())
        if is_object(change) and text_of(change.get("type")) in _CHANGES
    )


def _milliseconds(duration: object) -> int:
    if not is_object(duration):
        return 0
    seconds, nanos = duration.get("secs"), duration.get("nanos")
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return 0
    return seconds * 1000 + nanos // 1_000_000


def output_text(output: object) -> tuple[str, bool]:
    """Return a call's output as one text, and whether that is just what was recorded.

    Parts of a list are joined by line breaks. Its images are not among them: see `output_images`.
    """
    if isinstance(output, str):
        return output, True
    if is_object(output):
        return text_of(output.get("content")) or _plain(output), False
    parts = (part for part in objects(output) if not _image_url(part))
    return "\n".join(part_text(part) for part in parts), False


def output_images(output: object) -> tuple[Image, ...]:
    """Return the images of a call's output that is a list of parts."""
    parts = objects(output)
    return tuple(Image(url, _detail(part)) for part in parts if (url := _image_url(part)))


def _image_url(part: dict[str, Any]) -> str:
    url = part.get("image_url") if part.get("type") == "input_image" else None
    return url if isinstance(url, str) else ""


def _detail(part: dict[str, Any]) -> str | None:
    return str(part["detail"]) if isinstance(part.get("detail"), str) else None


def part_text(part: dict[str, Any]) -> str:
    """Return a part of a content as text."""
    if isinstance(part.get("text"), str):
        return str(part["text"])
    return "[image]" if part.get("type") == "input_image" else _plain(part)


def _plain(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
