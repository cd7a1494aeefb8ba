"""Markdown as the reference pages need it."""

import re
from collections.abc import Iterable, Sequence


def page(title: str, introduction: str, *sections: str) -> str:
    """Return a whole page."""
    return "\n\n".join((f"# {title}", introduction.strip(), *sections)) + "\n"


def section(level: int, title: str, *parts: str, label: str = "") -> str:
    """Return a heading and its text. `label` gives it a name that other pages can link to."""
    head = f"{'#' * level} {title}"
    return "\n\n".join(([f"({label})="] if label else []) + [head, *filter(None, parts)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Without rows, return nothing at all."""
    body = [" | ".join(_cell(cell) for cell in row) for row in rows]
    if not body:
        return ""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *body]
    return "\n".join(f"| {line} |" for line in lines)


def code(text: str) -> str:
    """Return `text` as code within a sentence. An empty text gives an empty one."""
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def block(text: str, language: str = "text") -> str:
    """Return `text` as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def prose(docstring: str) -> str:
    """Return a docstring as paragraphs, each on one line. Lists and indented text stay."""
    return re.sub(r"(?<=\S)\n(?=[^\s*-])", " ", docstring.strip())


def anchor(name: str) -> str:
    """Return the anchor that a heading of this name gets."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text.strip()).replace("|", "\\|")
