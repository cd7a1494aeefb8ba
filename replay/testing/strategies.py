"""Hypothesis strategies: what users, models, tools and machines do to a session.

Items are drawn as `turnlog.runtime.scripted_model.script` has them, without ids, so what is drawn
here can be played to a session's core, to an in-process model, or by a real HTTP server.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from hypothesis import strategies as st

from turnlog.actors.ports import ToolResult
from turnlog.protocol.calls import ModelFailure, ToolOutcome
from turnlog.protocol.ops import (
    ApprovalAnswer,
    Compact,
    Interrupt,
    Op,
    OverrideTurnContext,
    Redo,
    Review,
    RunUserShellCommand,
    SetName,
    TextInput,
    Undo,
    UserInput,
    prompt,
)
from turnlog.protocol.settings import ApprovalPolicy, OnRecovery, SettingsUpdate
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.testing.schemas import TEXTS, values_of
from turnlog.runtime.scripted_model.script import (
    Failure,
    Item,
    Response,
    call,
    custom,
    message,
    reasoning,
)
from turnlog.runtime.tools.tool import Tool

Arguments = Mapping[str, st.SearchStrategy[Any]]  # by tool: its arguments, or its input
POLICIES: Final[tuple[ApprovalPolicy, ...]] = ("on-request", "untrusted", "on-failure", "never")
ANSWERS: Final[tuple[ApprovalAnswer, ...]] = (
    "approved",
    "approved_for_session",
    "denied",
    "abort",
)
OUTCOMES: Final[tuple[ToolOutcome, ...]] = ("done", "failed", "cancelled", "crashed")
FAILURES: Final = (
    ModelFailure("server_error", "503", "request", http_status=503),
    ModelFailure("stream_disconnected", "the stream was cut", "stream"),
    ModelFailure("rate_limited", "slow down", "request", retry_after_ms=1500, http_status=429),
    ModelFailure("context_window_exceeded", "too long"),
    ModelFailure("bad_request", "no"),
)

# --- users ----------------------------------------------------------------------------------------


def prompts() -> st.SearchStrategy[str]:
    """Draw what a user types; never nothing."""
    return st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=8)


def settings_updates() -> st.SearchStrategy[SettingsUpdate]:
    """Draw a change of settings: mostly none, or another model or approval policy."""
    changed = st.builds(SettingsUpdate, model=st.sampled_from(["model-b", "model-c"]))
    policies = st.builds(SettingsUpdate, approval_policy=st.sampled_from(POLICIES))
    return st.one_of(st.just(SettingsUpdate()), changed, policies)


def steering() -> st.SearchStrategy[Op]:
    """Draw input for the turn that runs; without one, it starts a turn."""
    return prompts().map(lambda text: UserInput((TextInput(text),)))


def turns() -> st.SearchStrategy[Op]:
    """Draw a prompt with the settings that it changes."""
    return st.builds(prompt, prompts(), settings_updates())


def overrides() -> st.SearchStrategy[Op]:
    """Draw a change of settings between turns."""
    return settings_updates().map(OverrideTurnContext)


def interrupts() -> st.SearchStrategy[Op]:
    return st.just(Interrupt())


def ops() -> st.SearchStrategy[Op]:
    """Draw any of these. Answers to questions are drawn where a question is known: `answers`."""
    return st.one_of(turns(), steering(), interrupts(), overrides(), tasks())


def compactions() -> st.SearchStrategy[Op]:
    return st.just(Compact())


def undos() -> st.SearchStrategy[Op]:
    """Draw an undo of some turns, or a redo; whether there is something to undo is not asked."""
    back = st.builds(Undo, turns=st.integers(1, 2), files=st.booleans(), conversation=st.booleans())
    return st.one_of(back, st.just(Redo()))


def user_commands() -> st.SearchStrategy[Op]:
    """Draw a command that the user runs, which the model is not told of."""
    return prompts().map(RunUserShellCommand)


def reviews() -> st.SearchStrategy[Op]:
    return prompts().map(Review)


def names() -> st.SearchStrategy[Op]:
    """Draw a name for the session, or that its name is taken back."""
    return st.one_of(st.just(""), prompts()).map(SetName)


def tasks() -> st.SearchStrategy[Op]:
    """Draw what is a turn of its own kind, or none: compaction, undo, a command, a review."""
    return st.one_of(compactions(), undos(), user_commands(), reviews(), names())


def answers() -> st.SearchStrategy[ApprovalAnswer]:
    return st.sampled_from(ANSWERS)


def crashes() -> st.SearchStrategy[OnRecovery]:
    """Draw how the next engine continues after a crash."""
    return st.sampled_from(("continue", "interrupt"))


# --- models ---------------------------------------------------------------------------------------


def tool_calls(
    tools: Sequence[Tool], arguments: Arguments | None = None
) -> st.SearchStrategy[Item]:
    """Draw a call of one of `tools` that fits its specification.

    Args:
        arguments: for a tool, by name, a strategy of its arguments in place of its schema: a
            dictionary, or for a custom tool a text.
    """
    given = arguments or {}
    return st.one_of([_calls_of(tool, given.get(tool.name)) for tool in tools])


def odd_calls(tools: Sequence[Tool]) -> st.SearchStrategy[Item]:
    """Draw calls that no tool takes: unknown tools, arguments that are malformed or do not fit."""
    unknown = st.sampled_from(["no_such_tool", "Tool"]).map(lambda name: call(name, {}))
    if not tools:
        return unknown
    names = st.sampled_from([tool.name for tool in tools])
    broken = st.sampled_from(["", "{", "[]", "null", '{"a":', '{"surprise":1}', "not JSON"])
    torn = tool_calls(tools).map(_torn)
    return st.one_of(unknown, st.builds(call, names, broken), st.builds(custom, names, TEXTS), torn)


def model_items(
    tools: Sequence[Tool] = (), arguments: Arguments | None = None
) -> st.SearchStrategy[Item]:
    """Draw one item of a response: messages, reasoning, calls that fit, calls that do not."""
    texts = prompts().map(message)
    thoughts = prompts().map(lambda text: reasoning(text, encrypted_content="sealed"))
    calls = [tool_calls(tools, arguments)] * 4 if tools else []
    kinds = [texts, *calls, thoughts, odd_calls(tools)]
    # Not `one_of`: it takes unions apart, and odd calls are of many sorts.
    return st.sampled_from(range(len(kinds))).flatmap(kinds.__getitem__)


def model_failures() -> st.SearchStrategy[ModelFailure]:
    """Draw why an attempt ended without a whole response; some are tried again, some are not."""
    return st.sampled_from(FAILURES)


def usages() -> st.SearchStrategy[TokenUsage]:
    count = st.integers(0, 1000)
    return st.builds(TokenUsage, input_tokens=count, output_tokens=count)


def responses(
    tools: Sequence[Tool] = (), arguments: Arguments | None = None
) -> st.SearchStrategy[Response]:
    """Draw what a model streams for one request: whole, failed, cut off, or an HTTP error."""
    items = st.lists(model_items(tools, arguments), min_size=1, max_size=3)
    cut = st.builds(Response, items=items, cut_after=_PLACES)
    ended = st.builds(Response, items=items, end_after=_PLACES)
    failed = items.map(lambda some: Response(items=some, failed=Failure(code="oh", message="no")))
    refused = st.sampled_from([429, 500, 503]).map(lambda status: Response(status=status))
    whole = items.map(lambda some: Response(items=some))
    return st.one_of(whole, whole, cut, ended, failed, refused)


_PLACES: Final = st.integers(0, 6)


# --- tools ----------------------------------------------------------------------------------------


def tool_results() -> st.SearchStrategy[ToolResult]:
    """Draw what a tool reports; now and then more than an event holds itself."""
    output = st.one_of(prompts(), st.just("x" * 5000))
    return st.builds(ToolResult, st.sampled_from(OUTCOMES), st.just(""), output)


def _calls_of(tool: Tool, chosen: st.SearchStrategy[Any] | None) -> st.SearchStrategy[Item]:
    name, spec = tool.name, tool.spec
    if spec.get("type") == "custom":
        return (chosen if chosen is not None else TEXTS).map(lambda text: custom(name, text))
    drawn = values_of(spec.get("parameters", {"type": "object"})) if chosen is None else chosen
    return drawn.map(lambda arguments: call(name, json.dumps(arguments)))


def _torn(item: Item) -> Item:
    """Return a call that ended in the middle of its arguments."""
    if "arguments" not in item:
        return item
    text = cast(str, item["arguments"])
    return {**item, "arguments": text[: len(text) // 2]}
