"""`turnlog schema`: the JSON Schema of what turnlog reads and writes."""

import sys

import click
import msgspec

from turnlog.protocol.schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of ops, events and items, and of the lines of `show --json`.

    Also of the line that every `--json` ends with where the command fails.
    """
    document = msgspec.json.format(msgspec.json.encode(json_schema()), indent=2)
    sys.stdout.buffer.write(document + b"\n")
