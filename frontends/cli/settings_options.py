"""`-c`, `-p` and `-C`: the options of every command that opens a session."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from turnlog.frontends.sessions.settings import ChosenSettings

T = TypeVar("T")


def _assignments(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Check that each value can be read; whether there is such a key, the configuration says.

    Raises:
        click.UsageError: it is not KEY=VALUE.
    """
    if values:
        from turnlog.protocol.errors import UsageError
        from turnlog.runtime.config.sources import assignment_layer

        for value in values:
            try:
                assignment_layer(value)
            except UsageError as error:
                raise click.UsageError(str(error)) from None
    return values


_OPTIONS: Final = (
    click.option(
        "-c",
        "--config",
        "assignments",
        multiple=True,
        callback=_assignments,
        metavar="KEY=VALUE",
        help="Set a key of the configuration, for example -c model_verbosity=low. "
        "`turnlog config --all` lists the keys. May be repeated. Default: none.",
    ),
    click.option(
        "-p",
        "--profile",
        metavar="NAME",
        help="Use this profile of the configuration, for example -p fast. "
        "Default: the key `profile`.",
    ),
    click.option(
        "-C",
        "--cd",
        "folder",
        metavar="DIR",
        help="Work in this folder, for example -C ../other. "
        "Default: the session's folder; for a new session, the current one.",
    ),
)


def settings_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add the options; `command` gets what they say as its argument `chosen`."""

    @wraps(command)
    def chosen_once(
        *arguments: Any,  # noqa: ANN401 - click's
        assignments: tuple[str, ...],
        profile: str | None,
        folder: str | None,
        **others: Any,  # noqa: ANN401 - click's
    ) -> T:
        chosen = ChosenSettings(assignments, profile, folder)
        return command(*arguments, chosen=chosen, **others)

    taken: Callable[..., T] = chosen_once
    for option in reversed(_OPTIONS):
        taken = option(taken)
    return taken
