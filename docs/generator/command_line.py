"""The page of the command line: every command with its options, walked in click itself."""

import inspect
import re
from collections.abc import Iterator

import click

from docs.generator.markdown import block, code, page, prose, section, table
from turnlog.frontends.cli import turnlog as program

_INTRODUCTION = """
`turnlog help COMMAND` prints the same in a terminal. A command that needs a session takes its id,
any beginning or end of the id that no other session shares, its name, or its place in the list of
`turnlog sessions`: `@last` or `@1` is the newest one, `@2` the next.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its name, in the order of the help."""
    context = click.Context(program, info_name="turnlog")
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None  # it was listed
        yield name, command


def command_line() -> str:
    """Return the page."""
    return page(
        "Command line",
        _INTRODUCTION,
        *(_command(name, command) for name, command in commands()),
    )


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"turnlog {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    return section(
        2,
        f"turnlog {name}",
        block(f"turnlog {name} {usage}".strip()),
        _help(inspect.cleandoc(command.help or "")),
        table(("option", "meaning"), [_option(option) for option in options]),
        _help(command.epilog or ""),
        label=f"cli-{name}",
    )


def _option(option: click.Option) -> tuple[str, str]:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or option.count else option.make_metavar(click.Context(program))
    notes = [option.help or ""]
    if isinstance(option.type, click.Choice):
        value = ""
        notes.append("One of " + ", ".join(code(str(one)) for one in option.type.choices) + ".")
    return f"{names} {code(value)}".strip(), " ".join(filter(None, notes))


def _help(text: str) -> str:
    r"""Return a command's help. A paragraph that begins with `\b` keeps its lines."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\f", "")):
        if paragraph.startswith("\b"):
            parts.append(block(paragraph.removeprefix("\b").strip("\n")))
        else:
            parts.append(_escaped(prose(paragraph)))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    """Keep names such as $TURNLOG_HOME and <ID> from being read as markup."""
    return re.sub(r"([<>$*_])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", text)
