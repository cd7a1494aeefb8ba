"""`turnlog config`: each key of the configuration, its value, and where that comes from."""

import os
import sys
from collections.abc import Iterator
from typing import Final

import click

from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import columns, style
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.frontends.sessions.store import working_folder
from turnlog.protocol.json_text import json_text
from turnlog.runtime.config.explain import Setting, explain

_WIDTH: Final = 100  # columns, where stdout is not a terminal
_TEMPLATE_WIDTH: Final = 90
_INTRODUCTION: Final = """\
# The configuration of turnlog. It belongs into ~/.turnlog/config.toml, or into config.toml in the
# folder that TURNLOG_HOME names. A line that begins with "#" and no blank sets a key to its
# default, or to an example if it has none. Remove the "#" to set the key. `turnlog config` shows
# which settings hold.
#
# A model server of your own (it needs the Responses API, and here no key):
#
#     model = "my-model"
#     model_provider = "mine"
#
#     [model_providers.mine]
#     base_url = "http://127.0.0.1:8000/v1"
"""


@click.command("config")
@click.option("--all", "show_all", is_flag=True, help="Show every key, also if it is not set.")
@click.option("--template", is_flag=True, help="Print a commented file with every key.")
@json_option("Print one JSON object a line.")
@settings_options
@paged
def command(show_all: bool, template: bool, as_json: bool, chosen: ChosenSettings) -> None:
    """Show each setting that has a value, and where it comes from. Secrets are masked.

    From the weakest to the strongest: defaults, /etc/turnlog/config.toml,
    $TURNLOG_HOME/config.toml, its profile, the trusted project's .turnlog/config.toml, the
    environment, -c KEY=VALUE.

    With --all, every key is shown with its meaning, type, default and environment variable. Begin
    a file of your own with `turnlog config --template > ~/.turnlog/config.toml`.
    """
    if template:
        if show_all or as_json or chosen != ChosenSettings():
            raise click.UsageError("--template is always the same: leave out the other options.")
        click.echo(template_text(), nl=False)
        return
    config = chosen.load(working_folder(chosen.folder), os.environ)
    for warning in config.warnings:
        click.echo(f"Warning: {warning}", err=True)
    settings = explain(config)
    if as_json:
        for row in _all_rows(settings) if show_all else map(_row, settings):
            print_json(row)
    elif show_all:
        click.echo("\n\n".join(_all_texts(settings)))
    else:
        _show(settings)


def _show(settings: list[Setting]) -> None:
    shown = [(setting, _assignment(setting)) for setting in settings]
    width = min(max(len(text) for _, text in shown), 60)
    for setting, text in shown:
        click.echo(f"{text:{width}}  {style(f'# {setting.origin}', dim=True)}")


def _row(setting: Setting) -> dict[str, object]:
    return {"key": setting.key, "value": setting.value, "origin": str(setting.origin)}


def _all_rows(settings: list[Setting]) -> Iterator[dict[str, object]]:
    """Yield every key with what its reference says: as many rows as it has values, or one."""
    from turnlog.runtime.config.reference import keys

    for key in keys():
        about = {
            "meaning": key.meaning,
            "type": key.type,
            "default": key.default,
            "variable": key.variable,
        }
        rows = [_row(setting) for setting in settings if _belongs(setting, key.path)]
        for row in rows or [{"key": key.text, "value": None, "origin": None}]:
            yield row | about


def _all_texts(settings: list[Setting]) -> Iterator[str]:
    from turnlog.runtime.config.reference import keys

    width = columns(sys.stdout, _WIDTH)
    for key in keys():
        set_ones = [setting for setting in settings if _belongs(setting, key.path)]
        heads = [
            f"{style(_assignment(setting), bold=True)}  {style(f'# {setting.origin}', dim=True)}"
            for setting in set_ones
        ]
        unset = style(f"{key.text} is not set", bold=True)
        about = " ".join([f"{key.meaning}.", *key.notes])
        yield "\n".join([*(heads or [unset]), _wrapped(about, "    ", width)])


def _belongs(setting: Setting, path: tuple[str, ...]) -> bool:
    """Say whether a value is one of this key, or in the table that this key holds."""
    from turnlog.runtime.config.reference import NAME

    names = setting.path
    return len(names) >= len(path) and all(
        part in (NAME, name) for part, name in zip(path, names, strict=False)
    )


def template_text() -> str:
    """Return a file with every key, commented out."""
    from turnlog.runtime.config.reference import Key, tables, top_keys

    def line(key: Key) -> str:
        about = " ".join([f"{key.meaning}.", *key.notes])
        return f"{_wrapped(about, '# ', _TEMPLATE_WIDTH)}\n#{key.line}\n"

    parts = [_INTRODUCTION, *map(line, top_keys())]
    for table in tables():
        heading = _wrapped(f"{'.'.join(table.path)}: {table.meaning}", "# ", _TEMPLATE_WIDTH)
        parts += [f"# {'-' * (_TEMPLATE_WIDTH - 2)}\n{heading}\n", *map(line, table.keys)]
    return "\n".join(parts)


def _wrapped(text: str, indent: str, width: int) -> str:
    import textwrap

    return textwrap.fill(
        " ".join(text.split()),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _assignment(setting: Setting) -> str:
    return f"{setting.key} = {json_text(setting.value).decode()}"
