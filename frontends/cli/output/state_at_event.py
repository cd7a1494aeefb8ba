"""What `turnlog show --at` prints: a session at one of its events."""

import sys
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any, Final, TypeVar, cast

import click
from msgspec import Raw

from turnlog.actors.core.state import State, Turn
from turnlog.frontends.cli.output.difference_text import difference_object, show_differences
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.terminal import columns, secho, style
from turnlog.protocol.envelope import KIND_NAMES
from turnlog.protocol.events import (
    ApprovalAsked,
    ChildAsked,
    OpeningDecision,
    ToolDispatched,
    UserShellAsked,
)
from turnlog.protocol.ids import SessionId
from turnlog.protocol.json_text import json_text
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.protocol.view import record_object
from turnlog.replay.views.event_text import event_text, item_text, op_text, traceback_of
from turnlog.replay.views.state_at import Request, StateAt, state_view
from turnlog.replay.views.structure import ABSENT, Difference, decoded
from turnlog.replay.views.text import counted, local_time, one_line, printable

_WIDTH: Final = 101  # columns, where stdout is not a terminal
_LABEL: Final = 10
_CHANGES: Final = 12  # that are shown
_ROWS: Final = 8  # of a list of calls, effects or inputs
_STATUS: Final = {
    "sent": "was sent here",
    "in_flight": "is on its way, unanswered",
    "would_be_sent": "would be sent, if the turn were cut here and the model asked",
}
_NAMES: Final = 6  # of tools


# --- for programs -----------------------------------------------------------------------------


def print_state_json(found: StateAt) -> None:
    """Print one object: the event, the state, what the event changed, and the request."""
    view = state_view(found.state)
    view["history"]["parts"] = len(found.state.history.parts)  # they are the request's input
    shown = {
        "session": found.session,
        "head": found.head,
        "record": record_object(found.recorded),
        "state": view,
        "changes": [difference_object(change) for change in found.changes],
        "request": _request_object(found.request),
    }
    print_json(shown)


def _request_object(request: Request) -> dict[str, Any]:
    body: Raw | None = None
    if request.request is not None:
        from turnlog.runtime.model.responses import encode_body

        body = Raw(encode_body(request.request))
    return {
        "status": request.status,
        "parts": len(request.input),
        "input_digest": request.input_digest,
        "recorded_digest": request.recorded_digest,
        "input": [decoded(part) for part in request.input],
        "tools": decoded(request.tools_json) if request.tools_json is not None else None,
        "settings": request.settings,
        "body": body,
    }


# --- for people -------------------------------------------------------------------------------


def _width() -> int:
    """Return the columns of a row after its label."""
    return columns(sys.stdout, _WIDTH) - _LABEL - 1


def print_state_text(found: StateAt) -> None:
    """Print the event, and below it the state, the request and what the event changed."""
    recorded = found.recorded
    title = style(f"event {recorded.sequence} of {found.head}", bold=True)
    time = f"{local_time(recorded.time_us):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    click.echo(f"{title}  {recorded.kind}, a {recorded.role}  {style(time, dim=True)}")
    if text := one_line(event_text(recorded.event), _width() + _LABEL):
        click.echo(f"  {text}")
    if trace := traceback_of(recorded.event):
        click.echo(indent(printable(trace.rstrip()), "    "))
    click.echo()
    for label, rows in (*_state_rows(found.state), *_request_rows(found.request)):
        for number, row in enumerate(rows):
            name = label if not number else ""
            click.echo(f"{style(name.ljust(_LABEL), fg='cyan')} {row}".rstrip())
    click.echo()
    _print_changes(found.changes)


_Rows = tuple[str, Sequence[str]]


def _state_rows(state: State) -> Iterator[_Rows]:
    summary, settings = state.summary, state.settings
    if summary is not None and summary.name:
        yield "name", [one_line(summary.name, _width())]
    if summary is not None and summary.title:
        yield "title", [one_line(summary.title, _width())]
    yield "turn", [_turn_text(state)]
    if isinstance(state.turn, Turn):
        yield "calls", _cut(list(_calls(state.turn)))
    yield "open", _cut([_open_text(state, asked) for asked in state.outstanding.values()])
    yield "queue", _cut([one_line(op_text(one.op.op), _width()) for one in state.queue])
    yield "agents", _cut([_agent_text(state, child) for child in state.agents])
    if (undo := _undo_text(state)) and state.turn is None:
        yield "undo", [undo]
    if settings is not None:
        yield "settings", [_settings_text(settings)]
        yield "in", [settings.cwd]
    usage = state.usage
    cached = f" ({usage.cached_input_tokens:,} cached)"
    yield "tokens", [f"{usage.input_tokens:,} in{cached}, {usage.output_tokens:,} out"]
    yield "", [f"the conversation holds about {state.tokens:,}{_replaced_text(state.epoch)}"]


def _agent_text(state: State, child: SessionId) -> str:
    agent = state.agents[child]
    notes = [f"{agent.name}: {agent.status}"]
    notes += ["closed"] if agent.closed else []
    if child in state.results and agent.status != "running":
        notes.append("the model does not know yet")
    notes += [f"{agent.tokens:,} tokens"] if agent.tokens else []
    return f"{child} {', '.join(notes)}"


def _undo_text(state: State) -> str:
    """Say what could be undone or redone, were it asked for now."""
    notes: list[str] = []
    if state.marks:
        notes.append(f"{counted(len(state.marks), 'turn')}, back to turn {state.marks[0].turn}")
    if state.undone is not None:
        notes.append("the last undo can be taken back")
    return "; ".join(notes)


def _replaced_text(times: int) -> str:
    if not times:
        return ""
    return f"; compactions and undos have changed it {counted(times, 'time')}"


def _turn_text(state: State) -> str:
    turn = state.turn
    if turn is None:
        ending = ", the session is closed" if state.closed else ""
        return f"none is open; {state.turns} so far{ending}"
    kind = "" if turn.kind == "regular" else f", {turn.kind}"
    request, attempt = (turn.request, turn.attempt) if isinstance(turn, Turn) else (0, 0)
    parts = [f"{turn.number} is open{kind}", f"request {request}"]
    if attempt > 1:
        parts.append(f"attempt {attempt}")
    if turn.stopping is not None:
        parts.append(f"stopping: {turn.stopping.status}")
    return ", ".join(parts)


def _calls(turn: Turn) -> Iterator[str]:
    for call in turn.calls:
        said = f"  → {one_line(call.output, _width() // 2)}" if call.settled else ""
        yield f"{call.number} {call.item.name} {call.status}{said}"


def _open_text(state: State, asked: OpeningDecision) -> str:
    """Return what an open effect waits for."""
    match asked:
        case ToolDispatched(effect=name, call=number):
            call = state.turn.find(number) if isinstance(state.turn, Turn) else None
            is_running = call is not None and call.status == "running"
            return f"{name}: run call {number}{', started' if is_running else ', not started'}"
        case ApprovalAsked(effect=name, question=question, call=call):
            return f"{name}: question {question} about call {call}"
        case ChildAsked(effect=name):
            return f"{name}: {asked.kind} {asked.name}, {one_line(asked.prompt, _width() // 2)}"
        case UserShellAsked(effect=name, command=command):
            return f"{name}: the user's command {one_line(command, _width() // 2)}"
        case _:
            return f"{asked.effect}: {KIND_NAMES[type(asked)].replace('_', ' ')}"


def _settings_text(settings: SessionSettings) -> str:
    effort = f", effort {settings.reasoning_effort}" if settings.reasoning_effort else ""
    policy = f"asks {settings.approval_policy}, sandbox {settings.sandbox.mode}"
    return f"{settings.model} of {settings.model_provider}{effort}, {policy}"


def _request_rows(request: Request) -> Iterator[_Rows]:
    yield "request", [_STATUS[request.status]]
    parts = counted(len(request.input), "part")
    digest = f"digest {request.input_digest}"
    if request.recorded_digest not in (None, request.input_digest):
        digest += style(f", but the log says {request.recorded_digest}", fg="red")
    yield "", [f"{parts}, {digest}"]
    if request.input:
        yield "", [f"the last one: {one_line(item_text(request.input[-1]), _width())}"]
    if isinstance(request.settings, TurnSettings) and request.tools_json is not None:
        yield "", [f"{_settings_text(request.settings.session)}; {_tools_text(request.tools_json)}"]


def _tools_text(tools_json: str) -> str:
    tools: object = decoded(tools_json)
    if not isinstance(tools, list):
        return "tools that cannot be read"
    names = [_tool_name(tool) for tool in cast(list[object], tools)]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return (
        f"{counted(len(names), 'tool')}: {', '.join(names[:_NAMES])}{more}" if names else "no tools"
    )


def _tool_name(tool: object) -> str:
    fields = cast(dict[str, object], tool) if isinstance(tool, dict) else {}
    return one_line(str(fields.get("name") or fields.get("type") or "?"), _width() // 3)


T = TypeVar("T")


def _cut(rows: list[str]) -> list[str]:
    left = len(rows) - _ROWS
    return [*rows[:_ROWS], f"… and {left} more"] if left > 0 else rows


def _print_changes(changes: Sequence[Difference]) -> None:
    if not changes:
        secho("This event changed nothing of the state.", dim=True)
        return
    click.echo("Changed by this event:")
    show_differences([_told(change) for change in changes], indent=2, most=_CHANGES)


def _told(change: Difference) -> Difference:
    """Return a change with an item of the conversation as its text."""
    if change.path[:2] != ("history", "parts"):
        return change
    sides = (change.left, change.right)
    texts = [side if side is ABSENT else item_text(_encoded(side)) for side in sides]
    return Difference(change.path, *texts)


def _encoded(value: object) -> str:
    return value if isinstance(value, str) else json_text(value).decode()
