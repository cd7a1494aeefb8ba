"""`turnlog completion`: what makes a shell complete commands, options and sessions."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_TURNLOG_COMPLETE"  # click's; the script sets it


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    r"""Print a script for SHELL that completes commands, options, and sessions by name or id.

    \b
    bash, in ~/.bashrc:                    eval "$(turnlog completion bash)"
    zsh, in ~/.zshrc, after compinit:      eval "$(turnlog completion zsh)"
    fish, in ~/.config/fish/config.fish:   turnlog completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has these three
    click.echo(kind(context.find_root().command, {}, "turnlog", _VARIABLE).source())
