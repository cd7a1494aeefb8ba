"""From the options of `turnlog exec` to the order that a run carries out."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import click
import msgspec
from msgspec import structs

from turnlog.frontends.cli.running.options import Options
from turnlog.frontends.cli.running.run import Order
from turnlog.frontends.sessions.store import require_store, working_folder
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.ops import LocalImageInput, TextInput, UserInputItem, UserTurn
from turnlog.protocol.settings import SettingsUpdate
from turnlog.runtime.config.files import read_regular, size_of_regular
from turnlog.runtime.config.layers import Origin
from turnlog.runtime.config.schema import Config
from turnlog.runtime.engine import arguments as doors

_MAX_SCHEMA: Final = 1 << 20  # bytes
_ASKS_NOTHING: Final = 'approval_policy="never"'
_ADDED: Final = Origin("command line", "--add-dir")


def order(options: Options, environ: Mapping[str, str], *, asks_here: bool) -> Order:
    """Return what `options` ask for, with everything read that they name.

    Args:
        asks_here: whether questions are answered in this terminal.

    Raises:
        UsageError: the configuration cannot be used.
        UsageError: a folder, an image or the schema cannot be read.
        UsageError: a setting, or what goes with the prompt, cannot be stored.
        NotFound: there is no store to find a session in.
    """
    cwd = working_folder(options.chosen.folder)
    config = _config(options, cwd, environ)
    if options.ephemeral and config.approval_policy != "never" and not asks_here:
        raise click.UsageError("No other terminal sees an --ephemeral session: leave out -a.")
    if options.action != "start":
        require_store(options.session or "")
    if options.action == "start":
        doors.SETTINGS.take("settings", config.session_settings(cwd))
    new = options.action == "start"
    update = SettingsUpdate() if new else options.chosen.update(config, cwd)
    return Order(
        options.action,
        config,
        cwd,
        options.session,
        options.at,
        _prompt(options, update),
        update,
        None if new else options.chosen,
        options.ephemeral,
        environ.get("CODEX_INTERNAL_ORIGINATOR_OVERRIDE") or "turnlog_exec",
    )


def _config(options: Options, cwd: str, environ: Mapping[str, str]) -> Config:
    chosen: dict[str, Any] = {}
    if options.approvals is not None:
        chosen["approval_policy"] = options.approvals
    if options.model is not None:
        chosen["model"] = options.model
    if options.sandbox is not None:
        chosen["sandbox_mode"] = options.sandbox
    if environ.get("CODEX_API_KEY"):  # how the SDK hands over its key
        chosen["model_providers"] = {"openai": {"env_key": "CODEX_API_KEY"}}
    said = options.chosen
    if options.prompt is not None:  # a file does not make `exec` ask; only the command line does
        said = structs.replace(said, assignments=(_ASKS_NOTHING, *said.assignments))
    config = said.load(cwd, environ, chosen)
    if not options.add_dirs:
        return config
    added = tuple(working_folder(folder) for folder in options.add_dirs)
    workspace = config.sandbox_workspace_write
    return attrs.evolve(
        config,
        sandbox_workspace_write=structs.replace(
            workspace, writable_roots=workspace.writable_roots + added
        ),
        origins={**config.origins, ("sandbox_workspace_write", "writable_roots"): _ADDED},
    )


def _prompt(options: Options, update: SettingsUpdate) -> UserTurn | None:
    if options.prompt is None:
        return None
    images = tuple(LocalImageInput(_image(path)) for path in options.images)
    items: tuple[UserInputItem, ...] = (*images, TextInput(options.prompt))
    schema = None if options.schema is None else _schema(options.schema)
    turn = doors.op("prompt", UserTurn(items, update, schema))
    assert isinstance(turn, UserTurn)  # as it was given
    return turn


def _image(path: str) -> str:
    try:
        size_of_regular(Path(path))
    except OSError as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"the image {path} cannot be read: {error.strerror}."
        ) from None
    return os.path.abspath(path)


def _schema(path: Path) -> dict[str, Any]:
    try:
        data = read_regular(path, _MAX_SCHEMA)
        return msgspec.json.decode(data, type=dict[str, Any])
    except OSError as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"the output schema {path} cannot be read: {error.strerror}.",
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE, f"the output schema {path} is not a JSON object: {error}."
        ) from None
