"""What the engine wants its user to know, for commands that show no progress of a turn."""

import click


def tell_warning(text: str) -> None:
    """Say it on stderr, in one line."""
    click.echo(f"Warning: {text}", err=True)
