"""The `ContextLoader`: reads what a turn starts with, once, and hands it over as one fact."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio
from msgspec import structs

from turnlog.actors.ports import Clock, ContextRequest, Tools
from turnlog.protocol.calls import ContextFragment
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.events import ContextLoaded
from turnlog.protocol.items import JsonText
from turnlog.protocol.ops import UserInputItem
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.runtime.config.home import turnlog_home
from turnlog.runtime.config.schema import Config
from turnlog.runtime.context.agents_md import load_docs
from turnlog.runtime.context.models import compaction_limit, model_info
from turnlog.runtime.context.prompts import BASE_INSTRUCTIONS
from turnlog.runtime.context.render import (
    render_agents_md,
    render_environment,
    render_permissions,
)
from turnlog.runtime.context.timezone import date_in, local_timezone
from turnlog.runtime.context.user_input import local_image_bytes, user_message
from turnlog.runtime.processes.environment import child_environment
from turnlog.runtime.sandbox.confinement import Bounds, Sandbox
from turnlog.runtime.sandbox.guard import ReadGuard

_LARGE: Final = 64 << 10  # bytes; more is read in a thread
_WORDS_SHARE: Final = 4  # the user's words after a compaction: at most a fourth of the limit
SHELL: Final = "bash"  # what exec_command runs


@attrs.define(eq=False)
class TurnContextLoader:
    """Reads the file system and `environ`, and starts nothing.

    Args:
        environ: the engine's environment; gives the home folder and the time zone.
        sandbox: says how commands are confined, and what is not read for the model.
        warn: is told what the user should know, such as that AGENTS.md was cut.
    """

    config: Config
    tools: Tools
    clock: Clock
    environ: Mapping[str, str] = attrs.field(repr=False)
    sandbox: Sandbox
    warn: Callable[[str], None] | None = None

    async def load(self, request: ContextRequest) -> ContextLoaded:
        """Return the fact that closes `request`.

        Raises:
            UsageError: the working folder is not there, or an image cannot be read.
            UsageError: the session's provider is configured no longer.
            Unavailable: a folder that should be writable cannot safely be.
        """
        settings = request.settings
        _check_folder(settings.cwd)
        return ContextLoaded(
            effect=request.effect,
            settings=self._turn_settings(settings, asks_model=request.asks_model),
            tools_json=self.tools.specs(settings),
            fragments=tuple(
                fragment for fragment in await self._fragments(settings) if fragment.text
            ),
            input_json=await _message(request.input, self.sandbox.guard),
        )

    def _turn_settings(self, settings: SessionSettings, *, asks_model: bool) -> TurnSettings:
        model = model_info(settings.model)
        limits = self.config.turn_limits(settings, asks_model=asks_model)
        # What the user says of their model wins over what we know of it.
        window = settings.model_context_window or model.context_window
        at_tokens = compaction_limit(window, settings.model_auto_compact_token_limit)
        words = limits.compaction.user_tokens
        if at_tokens is not None:  # else they alone could reach a low limit, and no summary help
            words = min(words, at_tokens // _WORDS_SHARE)
        return structs.replace(
            limits,
            parallel_tool_calls=model.parallel_tool_calls,
            context_window=window,
            compaction=structs.replace(limits.compaction, at_tokens=at_tokens, user_tokens=words),
        )

    async def _fragments(self, settings: SessionSettings) -> list[ContextFragment]:
        bounds = await self.sandbox.bounds(
            settings.sandbox,
            workspace=settings.cwd,
            env=child_environment(settings.shell_environment, self.environ),
        )
        return [*self._rendered(settings, bounds)]

    def _rendered(self, settings: SessionSettings, bounds: Bounds) -> Iterator[ContextFragment]:
        """Yield the fragments in the order in which the model gets them."""
        base = settings.base_instructions
        yield ContextFragment(
            "base_instructions", "developer", BASE_INSTRUCTIONS if base is None else base
        )
        yield ContextFragment(
            "permissions",
            "developer",
            render_permissions(settings.sandbox, bounds, settings.approval_policy),
        )
        yield ContextFragment(
            "developer_instructions", "developer", settings.developer_instructions or ""
        )
        if settings.project_docs:
            yield ContextFragment("agents_md", "user", self._agents_md(settings))
        timezone = local_timezone(self.environ)
        today = date_in(timezone, self.clock.now_us())
        environment = render_environment(
            settings.cwd, SHELL, today, timezone, settings.sandbox, bounds.writable
        )
        yield ContextFragment("environment", "user", environment)

    def _agents_md(self, settings: SessionSettings) -> str:
        docs = load_docs(
            Path(settings.cwd),
            turnlog_home(self.environ),
            markers=self.config.project_root_markers,
            fallback_names=self.config.project_doc_fallback_filenames,
            budget=self.config.project_doc_max_bytes,
            user_instructions=settings.user_instructions,
            guard=self.sandbox.guard,
        )
        if self.warn is not None:
            for warning in docs.warnings:
                self.warn(warning)
        return render_agents_md(settings.cwd, docs.text) if docs.text else ""


async def _message(items: tuple[UserInputItem, ...], guard: ReadGuard) -> JsonText:
    if local_image_bytes(items) > _LARGE:
        return await trio.to_thread.run_sync(partial(user_message, items, guard))
    return user_message(items, guard)


def _check_folder(cwd: str) -> None:
    if not os.path.isdir(cwd):
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"the session's working folder {cwd} is not there, or is no folder. "
            "Make it, or continue in another one: `turnlog exec -C FOLDER resume ID PROMPT`.",
        )
