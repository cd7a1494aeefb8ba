"""Manual pages: `turnlog.1`, and one for each command, from the same texts as the help.

`python -m docs.generator.man FOLDER` writes them. A wheel that is built afterwards installs what is
in `man/`.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from docs.generator.command_line import commands
from turnlog.frontends.cli import GROUPS
from turnlog.frontends.cli import turnlog as program
from turnlog.protocol.version import VERSION


def pages() -> dict[str, str]:
    """Return each page by the name of its file."""
    found = {"turnlog.1": _program()}
    for name, command in commands():
        found[f"turnlog-{name}.1"] = _command(name, command)
    return found


def _program() -> str:
    synopsis = _bold("turnlog") + " " + _text("COMMAND [OPTIONS] [ARGUMENTS]")
    parts = [
        _head("turnlog", "agent sessions that you can resume, fork and replay"),
        _section("SYNOPSIS", synopsis),
        _section("DESCRIPTION", _paragraphs(program.help or "")),
    ]
    for task, group in GROUPS.items():
        lines = [_listed(name, line) for name, (_, line) in group.items()]
        parts.append(_section(task.upper(), "\n".join(lines)))
    parts.append(_section("SESSIONS AND THEIR PLACE", _paragraphs(program.epilog or "")))
    return "\n".join(parts) + "\n"


def _listed(name: str, line: str) -> str:
    return f".TP\n{_bold(f'turnlog-{name}(1)')}\n{_text(line)}"


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"turnlog {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    [line] = [line for group in GROUPS.values() for key, (_, line) in group.items() if key == name]
    parts = [
        _head(f"turnlog-{name}", line.rstrip(".")),
        _section("SYNOPSIS", f"{_bold(f'turnlog {name}')} {_text(usage)}"),
        _section("DESCRIPTION", _paragraphs(inspect.cleandoc(command.help or ""))),
    ]
    if options:
        parts.append(_section("OPTIONS", "\n".join(_option(option) for option in options)))
    if command.epilog:
        parts.append(_paragraphs(command.epilog))
    parts.append(_section("SEE ALSO", _bold("turnlog(1)")))
    return "\n".join(parts) + "\n"


def _head(name: str, line: str) -> str:
    title = f'.TH "{name.upper()}" "1" "" "turnlog {VERSION}" "turnlog"'
    return f"{title}\n{_section('NAME', _text(f'{name} - {line}'))}"


def _section(title: str, body: str) -> str:
    return f'.SH "{title}"\n{body}'


def _option(option: click.Option) -> str:
    names = ", ".join(_bold(name) for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {_text(option.make_metavar(click.Context(program)))}"
    return f".TP\n{names}{value}\n{_text(option.help or '')}"


def _paragraphs(text: str) -> str:
    r"""Return a help text. What follows `\b` keeps its lines; `Examples:` is a section."""
    return "\n".join(_paragraph(one) for one in re.split(r"\n\s*\n", text.strip()))


def _paragraph(text: str) -> str:
    if not text.startswith("\b"):
        return f".PP\n{_text(' '.join(text.split()))}"
    first, *lines = text.removeprefix("\b").strip("\n").splitlines()
    if first.endswith(":") and lines:
        return _section(first.removesuffix(":").upper(), _kept(lines))
    return f".PP\n{_kept([first, *lines])}"


def _kept(lines: list[str]) -> str:
    return "\n".join([".nf", *(_text(line) for line in lines), ".fi"])


def _bold(text: str) -> str:
    return rf"\fB{_text(text)}\fR"


def _text(text: str) -> str:
    """Return `text` with what roff would obey made plain."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain


def _written(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
        yield folder / name


if __name__ == "__main__":
    written = list(_written(Path(sys.argv[1])))
    print(f"{len(written)} manual pages are in {sys.argv[1]}. Read one: man ./{written[0]}")
