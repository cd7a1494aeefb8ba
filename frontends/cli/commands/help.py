"""`turnlog help`: the same as `--help`, for whoever types it the other way round."""

import click
from click.shell_completion import CompletionItem


def _commands(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    root = context.find_root()
    return root.command.shell_complete(root, typed)


@click.command("help")
@click.argument(
    "name",
    metavar="[COMMAND]",
    required=False,
    shell_complete=_commands,
)
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """Show the help of COMMAND; without it, the list of commands."""
    root = context.find_root()
    group = root.command
    assert isinstance(group, click.Group)  # turnlog itself
    if name is None:
        click.echo(root.get_help())
        return
    found = group.get_command(root, name)
    if found is None:
        raise click.NoSuchCommand(name, possibilities=group.list_commands(root), ctx=root)
    with click.Context(found, info_name=name, parent=root) as asked:
        click.echo(found.get_help(asked))
