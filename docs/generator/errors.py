"""The page of errors: every code of `error_codes`, its class, what happened and what to do.

The source says where a code comes from: which class of error is raised with it, and whether it is
the code of a refused op, of a failed turn or of a failed attempt at the model.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, get_args

import turnlog
from docs.generator.markdown import code, page, prose, section, table
from turnlog.protocol import errors as classes
from turnlog.protocol.calls import FailureCode
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import TurnlogError
from turnlog.runtime.config.field_comments import documentation

_INTRODUCTION = """
Every error has a code. Codes are stable: scripts and clients compare the code, never the text.

The command line prints the code in brackets at the end of the message. In Python every error that
turnlog raises on purpose is a `turnlog.TurnlogError` and has the attribute `code`. Its class says
what you can do about it: catch the class, and compare the code where that is too coarse.
"""

_LIST: Final = "error_codes.py"
_ORIGINS: Final = {
    "OpRefused": "a refused op: `Rejected` in Python, `op_refused` in the log",
    "ErrorInfo": "a failed turn: `Failed` in Python, `turn_ended` in the log",
    "ModelFailure": "a failed attempt at the model: `model_failed` in the log; the code of the "
    "last attempt becomes the code of the turn",
}
_CODE_AT: Final = {"OpRefused": 1, "ErrorInfo": 0}  # position of the code among the arguments
_HOW_CLOSED: Final = (ErrorCode.CRASHED, ErrorCode.FAILED)  # effects; each becomes a turn's code
_ELSEWHERE: Final = "the command line, for an exception that turnlog does not raise on purpose"


def errors() -> str:
    """Return the page."""
    kinds = [(code(kind.__name__), _first_paragraph(kind)) for kind in error_classes()]
    return page(
        "Errors",
        _INTRODUCTION,
        section(2, "What you can do", table(("class", "when it is raised"), kinds)),
        section(2, "Codes", *(_entry(one) for one in ErrorCode)),
    )


def _entry(one: ErrorCode) -> str:
    where = {_ORIGINS.get(maker, code(maker)) for maker in makers()[one]} or {_ELSEWHERE}
    return section(
        3,
        one,
        one.happened,
        f"*What to do.* {one.advice}",
        f"*Where.* {'; '.join(sorted(where))}.",
    )


def _first_paragraph(kind: type[TurnlogError]) -> str:
    return " ".join(prose(documentation(kind)).partition("\n\n")[0].split())


def error_classes() -> list[type[TurnlogError]]:
    """Return the classes of errors, in the order in which they are written."""
    found = vars(classes).values()
    return [one for one in found if isinstance(one, type) and issubclass(one, TurnlogError)]


@cache
def makers() -> Mapping[str, set[str]]:
    """Return for each code that the source gives what it makes with it.

    That is a class of errors, or what the log keeps of one: see `_ORIGINS`. The set is empty
    where the code is given to something else.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for path in source_files():
        text = path.read_text()
        if not any(name in text for name in ("ErrorCode", *_CODE_AT)):
            continue
        for given, maker in _given_in(ast.parse(text)):
            found[given].update({maker} & _known())
    for failure in get_args(FailureCode):
        found[failure].add("ModelFailure")
    for how in _HOW_CLOSED:
        found[how].add("ErrorInfo")
    return found


@cache
def _known() -> set[str]:
    return {*_ORIGINS, *(kind.__name__ for kind in error_classes())}


def source_files() -> Iterator[Path]:
    """Yield each file of turnlog's source, but for the list of codes."""
    for root in turnlog.__path__:
        for folder in sorted(Path(root).iterdir()):
            yield from (one for one in sorted(folder.rglob("*.py")) if one.name != _LIST)


def _given_in(tree: ast.AST, maker: str = "", kind: str = "") -> Iterator[tuple[str, str]]:
    """Yield each code that is given below `tree`, with the name of what is called with it.

    Args:
        maker: the name of the call around `tree`.
        kind: the class around it, which a call of `__init__` makes: one of the known classes, or
            else the class that it derives from.
    """
    match tree:
        case ast.Attribute(value=ast.Name(id="ErrorCode"), attr=name):
            yield ErrorCode[name], maker
        case ast.ClassDef(name=name, bases=bases):
            kind = name if name in _known() or not bases else _name(bases[0])
        case ast.Call(func=called, args=arguments):
            maker = kind if _name(called) == "__init__" else _name(called)
            given = arguments[_CODE_AT[maker] :] if maker in _CODE_AT else []
            if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
                yield given[0].value, maker
        case _:
            pass
    for child in ast.iter_child_nodes(tree):
        yield from _given_in(child, maker, kind)


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
