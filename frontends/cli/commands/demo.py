"""`turnlog demo`: the tour, without a key or a network."""

import click


@click.command("demo")
def command() -> int:
    """Watch a session run a command, edit a file, be killed, continue, branch, and be proved equal.

    The model follows a script: no key and no network are needed, and nothing of it stays.
    """
    from turnlog.frontends.demo.run import main

    return main()
