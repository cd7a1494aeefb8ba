"""`turnlog config`: each setting, and where it comes from."""

import os

import click

from turnlog.frontends.cli.output.json_lines import print_json
from turnlog.frontends.cli.output.pager import paged
from turnlog.frontends.cli.output.terminal import style
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.frontends.sessions.store import working_folder
from turnlog.protocol.json_text import json_text
from turnlog.runtime.config.explain import Setting, explain


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_options
@paged
def command(as_json: bool, chosen: ChosenSettings) -> None:
    """Show each setting that has a value, and where it comes from. Secrets are masked.

    From the weakest to the strongest: defaults, /etc/turnlog/config.toml,
    $TURNLOG_HOME/config.toml, its profile, the trusted project's .turnlog/config.toml, the
    environment, -c KEY=VALUE.
    """
    config = chosen.load(working_folder(chosen.folder), os.environ)
    for warning in config.warnings:
        click.echo(f"Warning: {warning}", err=True)
    settings = explain(config)
    if as_json:
        for setting in settings:
            print_json(_row(setting))
        return
    shown = [(setting, f"{setting.key} = {_value(setting)}") for setting in settings]
    width = min(max(len(text) for _, text in shown), 60)
    for setting, text in shown:
        click.echo(f"{text:{width}}  {style(f'# {setting.origin}', dim=True)}")


def _row(setting: Setting) -> dict[str, object]:
    return {"key": setting.key, "value": setting.value, "origin": str(setting.origin)}


def _value(setting: Setting) -> str:
    return json_text(setting.value).decode()
