"""The fields of a class, with what its source says of each.

The meaning of a field is the comment after it, or else the comment lines above it. That is the
convention of the whole code base, so the reference needs no second text.
"""

import ast
import inspect
import io
import tokenize
from functools import cache
from textwrap import dedent
from typing import NamedTuple

from msgspec import Struct


class Field(NamedTuple):
    name: str
    type: str  # as the source writes it
    default: str | None  # as the source writes it; None: the field must be given
    meaning: str  # empty: the source says nothing of it


@cache
def fields_of(kind: type) -> tuple[Field, ...]:
    """Return the fields of `kind` in their order: those of its bases come first."""
    bases = (base for base in reversed(kind.__mro__[1:]) if "__annotations__" in vars(base))
    inherited = (field for base in bases if base is not Struct for field in _declared(base))
    return (*inherited, *_declared(kind))


@cache
def _declared(kind: type) -> tuple[Field, ...]:
    source = dedent(inspect.getsource(kind))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef)
    comments = _comments(source)
    return tuple(
        Field(
            statement.target.id,
            ast.unparse(statement.annotation).strip("'\""),
            None if statement.value is None else _default(statement.value),
            _meaning(statement, comments),
        )
        for statement in definition.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if not statement.target.id.startswith("_")
        if not ast.unparse(statement.annotation).startswith("ClassVar")
    )


def documentation(kind: type) -> str:
    """Return the docstring that `kind` has of its own; empty if it has none."""
    text = kind.__dict__.get("__doc__")
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def is_struct(value: object) -> bool:
    """Say whether `value` is a class whose fields can be listed."""
    return isinstance(value, type) and issubclass(value, Struct)


def _default(value: ast.expr) -> str:
    """Return a default as a reader writes it. A factory stands for what it makes."""
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg in ("default_factory", "factory"):
                return _made_by(ast.unparse(keyword.value))
        for keyword in value.keywords:
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
    return ast.unparse(value)


def _made_by(factory: str) -> str:
    if factory.startswith("dict"):
        return "{}"
    if factory.startswith("list"):
        return "[]"
    return f"{factory}()"


class _Comment(NamedTuple):
    text: str
    alone: bool  # nothing else is on its line


def _comments(source: str) -> dict[int, _Comment]:
    """Return the comments by line."""
    lines = source.splitlines()
    return {
        token.start[0]: _Comment(
            token.string.lstrip("# "), not lines[token.start[0] - 1][: token.start[1]].strip()
        )
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


def _meaning(statement: ast.stmt, comments: dict[int, _Comment]) -> str:
    last = statement.end_lineno or statement.lineno
    after = comments.get(last)
    if after is not None and not after.text.startswith(("noqa", "type:", "pyright")):
        return after.text
    above: list[str] = []
    line = statement.lineno - 1
    while (comment := comments.get(line)) is not None and comment.alone:
        above.insert(0, comment.text)
        line -= 1
    return " ".join(above)
