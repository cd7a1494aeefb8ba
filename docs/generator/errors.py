"""The page of errors: every code that turnlog gives, what happened, and what to do.

An error's docstring is its text here: the first paragraph says what happened, the rest says what
to do. Codes inside events are found in the source of the cores.
"""

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import NamedTuple

import turnlog
from docs.generator.fields import documentation
from docs.generator.markdown import code, page, prose, section, table
from turnlog.actors import core
from turnlog.protocol import calls
from turnlog.protocol.errors import TurnlogError

_INTRODUCTION = """
Every error has a code. Codes are stable: scripts and clients compare the code, never the text.

The command line prints the code in brackets at the end of the message. In Python every error that
turnlog raises on purpose is a `turnlog.protocol.errors.TurnlogError` and has the attribute `code`.
An error that is none of these ends a command with `[internal_error]`: that is a defect, please
report it. What is in the log is safe.
"""

_REFUSED = """
A session can refuse an op. Python gets `OpRejected`, whose text ends with one of these codes. The
log has the decision `op_refused` with the code.
"""

_TURN = """
A turn that fails says why in its last event, `turn_ended`. Besides the codes of the model below,
these are possible:
"""

_MODEL = """
One attempt at the model ends with the fact `model_failed`. turnlog tries again where that can help;
the code of the last attempt becomes the code of the turn.
"""


class ErrorCode(NamedTuple):
    code: str
    kind: type[TurnlogError]
    happened: str
    advice: str  # empty: the docstring has one paragraph only


def errors() -> str:
    """Return the page."""
    return page(
        "Errors",
        _INTRODUCTION,
        section(2, "Errors of turnlog", *(_error(one) for one in error_codes())),
        section(
            2, "Refused ops", _REFUSED.strip(), table(("code", "reason"), _called("OpRefused", 1))
        ),
        section(2, "Failed turns", _TURN.strip(), table(("code", "reason"), _failed_turns())),
        section(
            2,
            "Failed attempts at the model",
            _MODEL.strip(),
            table(("code", "meaning"), _model_failures()),
        ),
    )


def _error(error: ErrorCode) -> str:
    return section(3, error.code, error.happened, f"*What to do.* {error.advice}")


def error_codes() -> list[ErrorCode]:
    """Return all errors of turnlog by code."""
    import_everything()
    found: list[ErrorCode] = []
    for kind in _below(TurnlogError):
        if kind.__module__.startswith("turnlog.") and "code" in vars(kind):
            text = prose(documentation(kind))
            happened, _, advice = text.partition("\n\n")
            found.append(ErrorCode(kind.code, kind, happened, advice))
    return sorted(found, key=lambda one: one.code)


def import_everything() -> None:
    """Import each module of turnlog, so that every class is known."""
    for module in pkgutil.walk_packages(turnlog.__path__, "turnlog."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _below(kind: type[TurnlogError]) -> Iterator[type[TurnlogError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)


def _failed_turns() -> list[tuple[str, str]]:
    reasons = {
        "`crashed`": "a tool or a task of turnlog raised an exception; the text has it",
        "`failed`": "an effect ended without a result of its own; the text says why",
    }
    return sorted({**dict(_called("ErrorInfo", 0)), **reasons}.items())


def _model_failures() -> list[tuple[str, str]]:
    """Return the codes with the comments after them in the source."""
    source = inspect.getsource(calls)
    lines = [line.strip() for line in source.splitlines()]
    rows: list[tuple[str, str]] = []
    for name in typing.get_args(calls.FailureCode):
        (line,) = [line for line in lines if line.startswith(f'"{name}",')]
        rows.append((code(name), line.partition("#")[2].strip()))
    return rows


def _called(name: str, position: int) -> list[tuple[str, str]]:
    """Return the codes that the cores give to calls of `name`, each with its reasons."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(core.__path__, f"{core.__name__}."):
        tree = ast.parse(inspect.getsource(importlib.import_module(module.name)))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for given, reasons in _calls_in(function, name, position):
                    found.setdefault(given, []).extend(reasons)
    return sorted((code(given), "; or: ".join(dict.fromkeys(why))) for given, why in found.items())


def _calls_in(
    function: ast.FunctionDef, name: str, position: int
) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id != name or len(node.args) < position + 2:
            continue
        given, reason = node.args[position : position + 2]
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield given.value, _texts(reason, function)


def _texts(reason: ast.expr, function: ast.FunctionDef) -> list[str]:
    """Return what a reason may say: a text, or each text that a variable is given."""
    match reason:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(_piece(part) for part in parts)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_texts(body, function), *_texts(orelse, function)]
        case ast.Name(id=wanted):
            return [
                text
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                and any(isinstance(one, ast.Name) and one.id == wanted for one in node.targets)
                for text in _texts(node.value, function)
            ]
        case ast.Attribute(attr=attr):
            from turnlog.actors.core import texts

            return [" ".join(str(getattr(texts, attr, "")).split())]
        case _:
            return []


def _piece(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "…"
