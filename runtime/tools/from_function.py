"""Makes a tool from a function: its annotations and its docstring are the specification.

The model is shown what the annotations say, as JSON Schema. Arguments that do not fit are refused
before the function is called. `Tool` is the full port, for tools that need more.
"""

import copy
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cached_property, partial, update_wrapper
from types import MethodType
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, get_type_hints, overload

import attrs
import msgspec
import trio
from msgspec import Struct

from turnlog.actors.ports import ToolMonitor, ToolOrder, ToolResult
from turnlog.protocol.calls import ToolPlan
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.images import Image
from turnlog.protocol.items import ToolCallItem
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.tools.tool import parse_arguments

P = ParamSpec("P")
R = TypeVar("R")

_REF: Final = "#/$defs/"
_SECTION: Final = re.compile(
    r"^(Args|Arguments|Returns|Raises|Yields|Examples?):\s*$", re.MULTILINE
)
_ARGUMENT: Final = re.compile(r"^ {1,8}\*{0,2}(\w+)(?: \([^)]*\))?: *(.*)$")
_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DENIED: Final = "{name} needs the approval of a person, and the approval policy allows no question"


@attrs.define(eq=False, slots=False)
class FunctionTool(Generic[P, R]):
    """A tool that calls a function. It can still be called as the function that it was made from.

    On a class, it is a method: the tool of an instance is `instance.method`.
    """

    function: Callable[P, R]
    name: str
    description: str
    needs_approval: bool | None
    parallel: bool
    timeout: float | None  # seconds

    def __attrs_post_init__(self) -> None:
        update_wrapper(self, self.function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> "FunctionTool[..., R]":
        """Return the tool of an instance, whose first argument is the instance."""
        if instance is None:
            return self
        return FunctionTool(
            MethodType(self.function, instance),
            self.name,
            self.description,
            self.needs_approval,
            self.parallel,
            self.timeout,
        )

    @property
    def spec(self) -> dict[str, Any]:
        """The specification as the Responses API takes it.

        Raises:
            UsageError: the model cannot be told how to call it.
        """
        spec: dict[str, Any] = {"type": "function", "name": self.name, "strict": False}
        if self.description:
            spec["description"] = self.description
        return {**spec, "parameters": _schema(self._form, _doc_of(self.function))}

    @cached_property
    def _form(self) -> "_Form":
        return _form_of(self.function)

    def plan(self, call: ToolCallItem, settings: TurnSettings) -> ToolPlan:
        arguments = parse_arguments(call, self._form.arguments)
        shown = msgspec.json.encode(arguments, order="deterministic").decode()
        return ToolPlan(
            self.name,
            parallel=self.parallel,
            wants="outside" if self.needs_approval else "inside",
            reason=f"{self.name} {shown}" if self.needs_approval else None,
            approval_key=f"{self.name}\0{shown}",
            denial=_DENIED.format(name=self.name) if self.needs_approval else None,
            known_safe=self.needs_approval is False,
        )

    async def run(self, order: ToolOrder, monitor: ToolMonitor) -> ToolResult:
        arguments = parse_arguments(order.call, self._form.arguments)
        given = {field: getattr(arguments, field) for field in arguments.__struct_fields__}
        if self._form.monitor is not None:
            given[self._form.monitor] = monitor
        await monitor.started()
        with trio.move_on_after(math.inf if self.timeout is None else self.timeout):
            return _result(await self._called(given))
        return ToolResult("failed", "", f"{self.name} was stopped after {self.timeout:g} seconds")

    async def _called(self, given: dict[str, object]) -> object:
        call = partial(cast("Callable[..., object]", self.function), **given)
        if _is_async(self.function):
            return await cast("Awaitable[object]", call())
        return await trio.to_thread.run_sync(call)


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
    parallel: bool = False,
    timeout: float | None = None,
) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
    parallel: bool = False,
    timeout: float | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: bool | None = None,
    parallel: bool = False,
    timeout: float | None = None,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a function into a tool for `open_engine(tools=[...])`: `@turnlog.tool`.

    Each parameter needs an annotation that msgspec can decode. `Annotated[int, Meta(ge=1)]` adds
    limits; `Meta(description=...)`, or the docstring's section `Args:`, says what it is. The model
    is not shown a parameter of the type `ToolMonitor`: it is given the call's monitor.

    The model is sent a `str` as it is, None as `done`, an `Image` as an image, and any other value
    as JSON. Of a list with images in it, the model sees the texts first, then the images. A
    `ToolResult` is the whole result. An exception is a failed result with the error's text. A plain
    `def` runs in a thread of its own. A method is a tool of its instance: `tools=[shelves.move]`.

    Args:
        function: `async def` or `def`, or an object that can be called. No `*args`.
        name: by which the model calls it. Default: the function's.
        description: what the model is told. Default: the docstring without its sections.
        needs_approval: True: a person is asked before each call, and where the approval policy
            allows no question, the call is refused. False: it changes nothing, and nobody is ever
            asked. None: the approval policy `untrusted` asks, the others do not.
        parallel: may run at the same time as other calls that may.
        timeout: seconds, after which the call is stopped and has failed. Only for `async def`.

    Raises:
        UsageError: it cannot be called, or an option has a value that is not allowed.
    """
    if function is None:

        def decorated(function: Callable[P, R]) -> FunctionTool[P, R]:
            return tool(
                function,
                name=name,
                description=description,
                needs_approval=needs_approval,
                parallel=parallel,
                timeout=timeout,
            )

        return decorated
    called = _called(function, name)
    if timeout is not None and not (0 < timeout < math.inf):
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{called}: the timeout {timeout!r} is not allowed; use seconds above 0",
        )
    if timeout is not None and not _is_async(function):
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{called}: a timeout needs `async def`; a thread cannot be stopped",
        )
    told = _summary(_doc_of(function)) if description is None else description
    return FunctionTool(function, called, told, needs_approval, parallel, timeout)


def _called(function: object, name: str | None) -> str:
    """Return the name of the tool that is made from a function."""
    if isinstance(function, type) or not callable(function):
        kind = function.__name__ if isinstance(function, type) else type(function).__name__
        raise UsageError(
            ErrorCode.TOOL_INVALID,
            f"{kind} is not a function; use `@turnlog.tool` on `def` or `async def`",
        )
    return name or str(getattr(function, "__name__", type(function).__name__.lower()))


def _routine(function: Callable[..., object]) -> Callable[..., object]:
    """Return what is run: of an object that can be called, its method."""
    return function if inspect.isroutine(function) else type(function).__call__


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(_routine(function))


def _doc_of(function: Callable[..., object]) -> str:
    return inspect.getdoc(_routine(function)) or inspect.getdoc(function) or ""


def _summary(doc: str) -> str:
    """Return a docstring without its sections."""
    section = _SECTION.search(doc)
    return (doc if section is None else doc[: section.start()]).strip()


@attrs.frozen
class _Form:
    """What a function takes."""

    arguments: type[Struct]  # what the model gives it
    monitor: str | None  # the parameter that is given the monitor


def _form_of(function: Callable[..., object]) -> _Form:
    annotations = _annotations(function)
    fields: list[tuple[str, Any, Any] | tuple[str, Any]] = []
    monitor: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if parameter.kind not in _BY_NAME:
            raise UsageError(
                ErrorCode.TOOL_INVALID,
                f"the parameter `{parameter}` has no name for a model to use",
            )
        if name not in annotations:
            hint = ". A method is given from an instance" if name == "self" else ""
            raise UsageError(
                ErrorCode.TOOL_INVALID,
                f"the parameter `{name}` needs an annotation: its type{hint}",
            )
        if annotations[name] is ToolMonitor:
            monitor = name
        elif parameter.default is parameter.empty:
            fields.append((name, annotations[name]))
        else:
            fields.append((name, annotations[name], _default(parameter.default)))
    arguments = msgspec.defstruct(
        "Arguments", fields, frozen=True, kw_only=True, forbid_unknown_fields=True
    )
    return _Form(arguments, monitor)


def _annotations(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(_routine(function), include_extras=True)
    except NameError as error:
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"an annotation names a type that is not there: {error}"
        ) from error


def _default(value: object) -> object:
    """Return a default as a Struct takes it: each call has a mutable one for itself."""
    try:
        hash(value)
    except TypeError:
        return msgspec.field(default_factory=partial(copy.deepcopy, value))
    return value


def _schema(form: _Form, doc: str) -> dict[str, Any]:
    """Return the JSON Schema of a function's arguments."""
    try:
        (root,), parts = msgspec.json.schema_components(
            (form.arguments,), ref_template=_REF + "{name}"
        )
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise UsageError(
            ErrorCode.TOOL_INVALID, f"an annotation cannot be shown to a model: {error}"
        ) from error
    schema = parts.pop(str(root["$ref"]).removeprefix(_REF))
    del schema["title"]
    for name, text in _documented(doc):
        if name in schema["properties"]:
            schema["properties"][name].setdefault("description", text)
    return {**schema, "$defs": parts} if parts else schema


def _documented(doc: str) -> Iterator[tuple[str, str]]:
    """Yield what the section `Args:` of a docstring says of each parameter."""
    parts = _SECTION.split(doc)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title not in ("Args", "Arguments"):
            continue
        name, lines, width = "", list[str](), 0
        for line in body.splitlines():
            indent = len(line) - len(line.lstrip())
            begun = _ARGUMENT.match(line)
            if begun is not None and (not name or indent <= width):
                if name:
                    yield name, " ".join(lines).strip()
                name, lines, width = begun[1], [begun[2]], indent
            else:
                lines.append(line.strip())
        if name:
            yield name, " ".join(lines).strip()


def _result(value: object) -> ToolResult:
    """Return what a function has returned, as a result."""
    match value:
        case ToolResult():
            return value
        case str():
            return ToolResult("done", "", value)
        case None:
            return ToolResult("done", "", "done")
        case Image():
            return ToolResult("done", "", "", images=(value,))
        case list() | tuple():
            return _result_of_parts(cast("Sequence[object]", value))
        case bytes() | bytearray() | memoryview():
            raise TypeError(
                "a tool returns text, data that JSON can hold, or turnlog.Image.of(data), not bytes"
            )
        case _:
            return ToolResult("done", "", _json(value))


def _result_of_parts(values: Sequence[object]) -> ToolResult:
    """Return a list as JSON; with images in it, each text and other value on a line of its own."""
    images = tuple(value for value in values if isinstance(value, Image))
    if not images:
        return ToolResult("done", "", _json(values))
    others = (value for value in values if not isinstance(value, Image))
    lines = (value if isinstance(value, str) else _json(value) for value in others)
    return ToolResult("done", "", "\n".join(lines), images=images)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
