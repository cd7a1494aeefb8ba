"""The command line: `turnlog COMMAND`. A command's module is imported when it is called."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click
from click.shell_completion import CompletionItem

from turnlog.frontends.cli.errors import tell
from turnlog.frontends.cli.examples import explain
from turnlog.frontends.cli.json_option import Asked
from turnlog.frontends.cli.output.streams import open_doors
from turnlog.protocol.version import VERSION
from turnlog.runtime.tuning import tune_process

# For each task: name of the command, its module in `commands`, and its line in the help.
GROUPS: Final = {
    "Work with an agent": {
        "exec": ("exec", "Run a session until the agent is done."),
        "steer": ("steer", "Say something to a turn that runs."),
        "interrupt": ("interrupt", "Stop a turn that runs."),
        "approvals": ("approvals", "List the questions that wait for an answer."),
        "approve": ("approve", "Answer a question."),
        "compact": ("compact", "Replace a session's conversation by a summary."),
        "review": ("review", "Have a session of its own look at the work."),
        "shell": ("shell", "Run a command of your own in a session's folder."),
    },
    "Look at sessions": {
        "sessions": ("sessions", "List sessions, the newest first."),
        "show": ("show", "Show a session's events as a timeline."),
        "history": ("history", "Show what the model is sent at an event."),
        "changes": ("changes", "Show what a turn changed, as a diff."),
        "tree": ("tree", "Show which session came from which."),
        "diff": ("diff", "Show where two sessions part, and how they differ."),
    },
    "Go back, branch, run again": {
        "undo": ("undo", "Drop a session's last turns, and bring its files back."),
        "redo": ("redo", "Take the last undo back."),
        "fork": ("fork", "Branch from a session at an event."),
        "rerun": ("rerun", "Branch from a session, and run its inputs again, live."),
        "simulate": ("simulate", "Run a session again, its model or its tools as recorded."),
        "serve-model": ("serve_model", "Serve a session's model, as it was recorded."),
    },
    "Keep sessions": {
        "name": ("name", "Give a session a name."),
        "archive": ("archive", "Take a session out of the list, or bring it back."),
        "export": ("export", "Write a session to a file, as a transcript or for Codex."),
        "import": ("import_", "Import sessions from files, and from Codex."),
        "delete": ("delete", "Delete a session."),
    },
    "Check": {
        "replay": ("replay", "Compare recorded decisions with today's."),
        "check": ("check", "Replay a folder of exported sessions, as in CI."),
        "doctor": ("doctor", "Check the store, and repair it."),
    },
    "Set up and learn": {
        "config": ("config", "Show each setting, and where it comes from."),
        "scripted-model": ("scripted_model", "Serve a model that follows a script."),
        "schema": ("schema", "Print the JSON Schema of ops, events and items."),
        "demo": ("demo", "Watch a session run, be killed, continue and branch."),
        "completion": ("completion", "Have a shell complete commands and sessions."),
        "help": ("help", "Show the help of a command."),
    },
}
COMMANDS: Final = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class Commands(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        explain(cmd_name, command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a wrong name is answered with the ones that are near."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, or an option. No command is imported for it."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))  # one column for all groups
        for task, group in GROUPS.items():
            with formatter.section(task):
                formatter.write_dl([(f"{name:{width}}", line) for name, (_, line) in group.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Sessions are kept in $TURNLOG_HOME (default: ~/.turnlog). Where a command takes an ID, "
    "give a session's id, a unique beginning or end of it, its name, @last for the newest session "
    "in the list, or @2 for the next. Set TURNLOG_DEBUG=1 to see the traceback of an error.",
)
@click.version_option(VERSION, prog_name="turnlog")
def turnlog() -> None:
    """Run coding-agent sessions that you can resume, fork and replay.

    `turnlog help COMMAND` shows the options of a command.
    """


def main() -> NoReturn:
    """Run the command that this process was started for, and leave with its exit code."""
    _speak_utf_8()
    _keep_own_files_usable()
    open_doors()
    tune_process()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code.

    An error is told on stderr, in one paragraph; with --json also on stdout, as its last line.
    """
    asked = Asked()
    try:
        code: int | None = turnlog.main(
            list(arguments),
            prog_name="turnlog",
            standalone_mode=False,
            color=True,  # whether styles are shown, our doors decide
            obj=asked,
        )
        sys.stdout.flush()
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:
        return tell(error, as_json=asked.json)
    return code or 0


def _speak_utf_8() -> None:
    """Begin again in UTF-8 where the locale has ASCII only: file names and arguments have more."""
    if sys.getfilesystemencoding() == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _keep_own_files_usable() -> None:
    """Take out of the umask what would keep this user from files that they have just made."""
    mask = os.umask(0o077)
    os.umask(mask & 0o077)
