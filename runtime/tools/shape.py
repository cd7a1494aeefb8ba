"""What a tool must look like, checked when an engine is opened, before anything is stored."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, cast

from turnlog.protocol.checking import Argument
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.tools.agents import AGENT_TOOLS
from turnlog.runtime.tools.faults import described
from turnlog.runtime.tools.tool import Tool

BUILT_IN: Final = frozenset(
    ("exec_command", "apply_patch", "update_plan", *(tool.name for tool in AGENT_TOOLS))
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")  # what the Responses API takes, and namespaces
SPEC: Final = Argument[dict[str, Any]](dict[str, Any])
_CALLED: Final = frozenset({"function", "custom"})  # kinds that the model calls by their names


def checked_tools(tools: Iterable[Tool], *, taken: Collection[str] = BUILT_IN) -> tuple[Tool, ...]:
    """Return `tools`, each of which can be shown to a model and called.

    Args:
        taken: names that other tools have already.

    Raises:
        UsageError: one of them is no tool. The text says which, and what is missing.
    """
    if isinstance(tools, str | bytes) or not isinstance(cast(object, tools), Iterable):
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"tools: {type(tools).__name__} is not allowed; use a list of tools",
        )
    found, names = tuple(tools), set(taken)
    for index, tool in enumerate(found):
        where = f"tools[{index}] ({_kind(tool)})"
        name = _name(where, tool)
        if name in names:
            kind = "a tool of turnlog's own" if name in taken else "another of these tools"
            raise UsageError(
                ErrorCode.TOOL_INVALID,
                f"{where}: the name {name!r} is taken by {kind}. Choose another one",
            )
        names.add(name)
        _check_spec(f"{where}, {name}", name, tool)
        _check_plan(f"{where}, {name}", tool)
        _check_run(f"{where}, {name}", tool)
    return found


def _kind(tool: object) -> str:
    return tool.__name__ if isinstance(tool, type) else type(tool).__name__


def _name(where: str, tool: Tool) -> str:
    if isinstance(tool, type):
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{where}: this is a class; give an instance of it: {_kind(tool)}()",
        )
    name = _attribute(where, tool, "name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{where}: the name {name!r} is not allowed; use 1 to 128 letters, digits, `_` or `-`",
        )
    return name


def _attribute(where: str, tool: object, attribute: str) -> Any:  # noqa: ANN401
    try:
        return getattr(tool, attribute)
    except AttributeError as error:
        if error.name == attribute and error.obj is tool:
            raise UsageError(
                ErrorCode.TOOL_INVALID,
                f"{where}: it has no `{attribute}`; a tool has name, spec, plan and run",
            ) from None
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: its `{attribute}` raises {described(error)}"
        ) from error
    except UsageError as error:  # a tool that was made from a function says itself what is wrong
        raise UsageError(ErrorCode.TOOL_INVALID, f"{where}: {error}") from error
    except Exception as error:
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: its `{attribute}` raises {described(error)}"
        ) from error


def _check_spec(where: str, name: str, tool: Tool) -> None:
    given = _attribute(where, tool, "spec")
    try:
        spec = SPEC.take("spec", given)
    except UsageError as error:
        raise UsageError(ErrorCode.TOOL_INVALID, f"{where}: {error}") from None
    kind, called = spec.get("type"), spec.get("name")
    if not isinstance(kind, str):
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: its spec has no `type`; use 'function' or 'custom'"
        )
    if kind == "namespace":
        if not name.startswith(f"{called}."):
            raise UsageError(
                ErrorCode.TOOL_INVALID,
                f"{where}: its spec is of the namespace {called!r}, not of its name's",
            )
    elif (kind in _CALLED or "name" in spec) and called != name:
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{where}: its spec has the name {called!r}, by which the model would call it; the two "
            "must be equal",
        )


def _check_plan(where: str, tool: Tool) -> None:
    plan = _method(where, tool, "plan", "plan(call, settings)")
    if inspect.iscoroutinefunction(plan):
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: plan must be a plain function, not `async def`"
        )


def _check_run(where: str, tool: Tool) -> None:
    run = _method(where, tool, "run", "async def run(order, monitor)")
    if not inspect.iscoroutinefunction(run):
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{where}: run must be a coroutine function: `async def run(...)`",
        )


def _method(where: str, tool: Tool, name: str, form: str) -> Callable[..., object]:
    """Return a method that takes two arguments; of an object that is called, its own method."""
    method = _attribute(where, tool, name)
    if not callable(method):
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: its `{name}` cannot be called; a tool has `{form}`"
        )
    if not inspect.isroutine(method) and not hasattr(method, "func"):
        method = method.__call__
    try:
        inspect.signature(method).bind(None, None)
    except TypeError:
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"{where}: its `{name}` must take two arguments: `{form}`"
        ) from None
    except ValueError:  # of a built-in nothing is known
        pass
    return cast("Callable[..., object]", method)
