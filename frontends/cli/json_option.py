"""`--json`: the option, and what it says of an error that ends the command."""

from collections.abc import Callable
from typing import Final, TypeVar

import click

T = TypeVar("T")
_NAMES: Final = ("--json", "as_json")


class Asked:
    """What a command line asked of all that is printed. A command's context has it as `obj`."""

    def __init__(self) -> None:
        self.json = False


def json_option(text: str, *others: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that adds `--json`; the command gets it as its argument `as_json`.

    Args:
        text: the option's help.
        others: further names of the option.
    """
    return click.option(*_NAMES, *others, is_flag=True, callback=_note, help=text)


def _note(context: click.Context, _: click.Parameter, value: bool) -> bool:
    if isinstance(context.obj, Asked):
        context.obj.json = value
    return value
