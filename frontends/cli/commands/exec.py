"""`turnlog exec`: run a session until the agent is done. Options and lines are Codex's."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click
from click.shell_completion import CompletionItem

from turnlog.frontends.cli.errors import FAILED, UNCONFINED
from turnlog.frontends.cli.json_option import json_option
from turnlog.frontends.cli.running.options import Action, Options
from turnlog.frontends.cli.running.prompt import read_prompt
from turnlog.frontends.cli.session_argument import complete_words
from turnlog.frontends.cli.settings_options import settings_options
from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError, with_code
from turnlog.protocol.settings import ApprovalPolicy, SandboxMode
from turnlog.runtime.private_files import open_private

if TYPE_CHECKING:
    from turnlog.frontends.cli.running.run import Order

_HELP: Final = """\
Run a session until the agent is done.

\b
  turnlog exec PROMPT              begin a session
  turnlog exec resume ID [PROMPT]  continue one; --last: the newest of this folder
  turnlog exec fork ID [PROMPT]    branch from one; --at: from an earlier event

The prompt is the argument, or what is piped into stdin, or both: then stdin is appended to it.
A turn that was cut off, by kill -9 or a power failure, is continued when it is resumed: nothing
that ran is run again. With a prompt, the model is told of that too, after what was under way.

The last message goes to stdout. What the run works with, its progress, and how to resume it go to
stderr. With --json, stdout has one JSON object a line.
No question is asked, unless -a says so. Answer it in this terminal, or by `turnlog approve` in any
other one. Where stdin or stderr is not a terminal, `turnlog approve` is the only way.

\b
Exit codes:
    0  the turn was completed
    1  the turn failed, or could not be begun; stderr says why
    2  the command line is wrong
    3  the turn was completed, but none of its commands could be confined, so none was run
  130  interrupted by Ctrl-C; the second Ctrl-C leaves at once (143: SIGTERM, 129: SIGHUP)
"""


def _words(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return complete_words(context.params["words"], typed)


@click.command("exec", help=_HELP)
@click.argument(
    "words",
    nargs=-1,
    metavar="[resume ID | fork ID] [PROMPT]",
    shell_complete=_words,
)
@json_option(
    "Print the line protocol of `codex exec --json` on stdout, one JSON object a line.",
    "--experimental-json",
)
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    help="The model, as its provider names it. Default: the key `model`, or the "
    "session's own model.",
)
@click.option(
    "-s",
    "--sandbox",
    type=click.Choice(get_args(SandboxMode)),
    help="What commands may touch: read-only, workspace-write (also the folder that they"
    " work in) or danger-full-access (no sandbox). Default: the key `sandbox_mode`,"
    " or the session's own.",
)
@click.option(
    "-a",
    "--ask-for-approval",
    "approvals",
    type=click.Choice(get_args(ApprovalPolicy)),
    help="When you are asked before a command runs. Default: never; with --json, a key "
    "`approval_policy` in -c does not count.",
)
@settings_options
@click.option(
    "--add-dir",
    "add_dirs",
    multiple=True,
    metavar="DIR",
    help="Another folder that commands may write to, with -s workspace-write. May be "
    "repeated. Default: none.",
)
@click.option(
    "-i",
    "--image",
    "images",
    multiple=True,
    metavar="FILE",
    help="An image that is sent with the prompt. May be repeated. Default: none.",
)
@click.option(
    "--output-schema",
    "schema",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with a JSON Schema that the last message has to fit. Default: the "
    "message is free text.",
)
@click.option(
    "-o",
    "--output-last-message",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the last message to FILE, once the turn is complete. Default: stdout only.",
)
@click.option(
    "--last", is_flag=True, help="With `resume`: continue the newest session of this folder."
)
@click.option(
    "--at",
    type=int,
    metavar="SEQ",
    help="With `fork`: branch after this event. Default: after the last one.",
)
@click.option(
    "--ephemeral", is_flag=True, help="Keep nothing of the session: it cannot be resumed."
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Whether stderr has colours. Default: auto, which is for a terminal, unless "
    "NO_COLOR is set.",
)
@click.option(
    "--skip-git-repo-check",
    is_flag=True,
    help="Accepted for scripts that were written for Codex; there is no such check.",
)
@click.option("--thread-source", hidden=True, help="Accepted, for the SDK.")
@click.option("--cyber-access-program", hidden=True, help="Accepted, for the SDK.")
def command(
    words: tuple[str, ...],
    as_json: bool,
    model: str | None,
    sandbox: SandboxMode | None,
    approvals: ApprovalPolicy | None,
    chosen: ChosenSettings,
    add_dirs: tuple[str, ...],
    images: tuple[str, ...],
    schema: Path | None,
    output: Path | None,
    last: bool,
    at: int | None,
    ephemeral: bool,
    color: str,
    skip_git_repo_check: bool,
    thread_source: str | None,
    cyber_access_program: str | None,
) -> int:
    action, session, prompt = _understood(words, last=last, at=at, ephemeral=ephemeral)
    prompt = read_prompt(prompt, required=action == "start")
    if as_json and prompt is not None and approvals is None:
        approvals = "never"  # a program reads the lines: with -c alone it would wait for a person
    options = Options(
        action,
        session,
        prompt,
        at,
        model,
        sandbox,
        add_dirs,
        chosen,
        images,
        schema,
        ephemeral,
        approvals,
    )
    if output is not None:
        _check_writable(output)
    return _run(options, as_json=as_json, color=color, output=output)


def _understood(
    words: Sequence[str], *, last: bool, at: int | None, ephemeral: bool
) -> tuple[Action, str | None, str | None]:
    """Return the action, its session and its prompt.

    Raises:
        click.UsageError: words and options do not fit together.
    """
    action: Action = "start"
    rest = list(words)
    session: str | None = None
    if rest and rest[0] in ("resume", "fork"):
        action = "resume" if rest.pop(0) == "resume" else "fork"
        if not (last and action == "resume"):
            if not rest:
                hint = ", or --last" if action == "resume" else ""
                raise click.UsageError(f"Which session? Give its ID{hint}.")
            session = rest.pop(0)
    if len(rest) > 1:
        raise click.UsageError(f"Got unexpected argument {rest[1]!r}. Quote the prompt.")
    if last and action != "resume":
        raise click.UsageError("--last goes with `resume`.")
    if at is not None and action != "fork":
        raise click.UsageError("--at goes with `fork`.")
    if ephemeral and action != "start":
        raise click.UsageError(f"--ephemeral keeps nothing, so there is nothing to {action}.")
    return action, session, rest[0] if rest else None


def _check_writable(output: Path) -> None:
    """Find out now, not after the work, that the last message cannot be written."""
    folder = output.absolute().parent
    if output.is_dir():
        raise UsageError(
            ErrorCode.OUTPUT_UNWRITABLE, f"{output} is a folder; name a file for the last message."
        )
    if not folder.is_dir():
        raise UsageError(
            ErrorCode.OUTPUT_UNWRITABLE,
            f"{folder} is no folder, so {output.name} cannot be written there.",
        )


def _run(options: Options, *, as_json: bool, color: str, output: Path | None) -> int:
    import trio

    from turnlog.frontends.cli.output.streams import show_styles
    from turnlog.frontends.cli.output.terminal import secho
    from turnlog.frontends.cli.running.answers import person_is_here
    from turnlog.frontends.cli.running.reporters import HumanReporter, JsonReporter
    from turnlog.frontends.cli.running.request import order
    from turnlog.frontends.cli.running.run import Run

    asks_here = not as_json and person_is_here()
    asked: Order = order(options, os.environ, asks_here=asks_here)
    if color != "auto":
        show_styles(color == "always")
    reporter = JsonReporter() if as_json else HumanReporter()
    run = Run(asked, reporter, asks_here=asks_here)
    code = trio.run(run.run)
    if code in (0, UNCONFINED) and output is not None:
        _write(output, run.last_message or "")
    if run.session is not None and not (as_json or options.ephemeral):
        secho(f"To continue this session: turnlog exec resume {run.session}", dim=True, err=True)
    if code == FAILED:
        click.echo(f"Error: {with_code(run.error.message, run.error.code)}", err=True)
    if code == UNCONFINED:
        click.echo(f"Error: {run.refusals.explain()}", err=True)
    return code


def _write(output: Path, message: str) -> None:
    try:
        with open(output, "wb", opener=open_private) as stream:
            stream.write(message.encode(errors="replace"))
    except OSError as error:
        raise UsageError(
            ErrorCode.OUTPUT_UNWRITABLE, f"{output} cannot be written: {error.strerror}."
        ) from None
