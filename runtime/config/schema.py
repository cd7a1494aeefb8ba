"""What may be configured: the keys, their types and their defaults.

Codex's names, so that its users find their way. A key that is None by default is not set.
"""

import os
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

import attrs
from msgspec import Meta, Struct, field, structs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.settings import (
    AgentLimits,
    ApprovalPolicy,
    CompactionLimits,
    Durability,
    ReasoningEffort,
    ReasoningSummary,
    RetryLimits,
    SandboxMode,
    SandboxPolicy,
    SessionSettings,
    ShellEnvironmentPolicy,
    TurnSettings,
    UnansweredPolicy,
    Verbosity,
)
from turnlog.runtime.config.layers import DEFAULT, KeyPath, Layer, LayerName, Origin

Retries = Annotated[int, Meta(ge=0, le=100)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Tokens = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 24)]
Count = Annotated[int, Meta(ge=0, le=100)]

# Which setting of a session each key sets. The other keys say nothing of a session.
SETTING_OF_KEY: Final[Mapping[str, str]] = {
    "model": "model",
    "model_provider": "model_provider",
    "approval_policy": "approval_policy",
    "sandbox_mode": "sandbox",
    "sandbox_workspace_write": "sandbox",
    "model_reasoning_effort": "reasoning_effort",
    "model_reasoning_summary": "reasoning_summary",
    "model_verbosity": "verbosity",
    "base_instructions": "base_instructions",
    "developer_instructions": "developer_instructions",
    "user_instructions": "user_instructions",
    "show_raw_agent_reasoning": "show_raw_agent_reasoning",
    "shell_environment_policy": "shell_environment",
    "model_context_window": "model_context_window",
    "model_auto_compact_token_limit": "model_auto_compact_token_limit",
    "durability": "durability",
    "review_model": "review_model",
    "agents": "agents",
    "undo": "scan_workspace",
}

_NOT_KEYS: Final = ("origins", "warnings")
MASK: Final = "********"
_SECRET_FIELDS: Final = ("http_headers", "query_params")
_RETRY: Final = RetryLimits()


class ProviderConfig(Struct, frozen=True):
    """A model provider. NAME is the provider's id; `model_provider` chooses one.

    The API key comes from `env_key`, `key_command` or `keyring`, in this order. If none of the
    three is set, requests are sent without a key.
    """

    base_url: str  # http: or https:, without /responses at the end
    name: str = ""  # shown to people; empty: the provider's id
    env_key: str | None = None  # name of the environment variable that holds the key
    key_command: tuple[str, ...] = ()  # program and arguments; it prints the key
    key_command_timeout_ms: Milliseconds = 10_000  # how long `key_command` may take
    keyring: str | None = None  # SERVICE/USER in the keyring of the operating system
    # Further HTTP headers of each request.
    http_headers: dict[str, str] = field(default_factory=dict[str, str])
    # Further HTTP headers, each with the environment variable that holds its value.
    env_http_headers: dict[str, str] = field(default_factory=dict[str, str])
    # Further parameters of the URL.
    query_params: dict[str, str] = field(default_factory=dict[str, str])
    # How often a request is tried again before a response begins.
    request_max_retries: Retries = _RETRY.request_max_retries
    # How often a request is tried again after its response was cut off.
    stream_max_retries: Retries = _RETRY.stream_max_retries
    # How long a response may send nothing before it counts as cut off.
    stream_idle_timeout_ms: Milliseconds = _RETRY.stream_idle_timeout_ms
    wire_api: Literal["responses"] = "responses"  # the API that the provider offers
    requires_openai_auth: bool = False  # accepted, and without effect

    @property
    def retry_limits(self) -> RetryLimits:
        """Return how often a call of this provider is tried again."""
        return RetryLimits(
            request_max_retries=self.request_max_retries,
            stream_max_retries=self.stream_max_retries,
            stream_idle_timeout_ms=self.stream_idle_timeout_ms,
        )

    def __repr__(self) -> str:
        """Show the fields, without what headers and parameters hold: keys stand there too."""
        shown = {
            name: dict.fromkeys(value, MASK) if name in _SECRET_FIELDS else value
            for name, value in structs.asdict(self).items()
        }
        return f"ProviderConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class WorkspaceWrite(Struct, frozen=True):
    """What commands may do besides, where `sandbox_mode` is `workspace-write`."""

    writable_roots: tuple[str, ...] = ()  # further folders to write below; absolute paths
    network_access: bool = False  # whether commands may use the network
    exclude_tmpdir_env_var: bool = False  # whether $TMPDIR stays read-only
    exclude_slash_tmp: bool = False  # whether /tmp stays read-only


class Agents(Struct, frozen=True):
    """How many sub-agents a session may run at once, and how deep they may nest."""

    max_threads: Count = 6  # sub-agents that may run at once; 0: none
    max_depth: Count = 1  # 1: a sub-agent has none of its own


class UndoSettings(Struct, frozen=True):
    """What an undo can bring back."""

    scan_workspace: bool = False  # save files before commands run, so that undo restores them


class History(Struct, frozen=True):
    """Whether prompts are kept, so that a front-end can offer them again."""

    persistence: Literal["save-all", "none"] = "save-all"  # accepted; no front-end uses it yet


class ProjectTrust(Struct, frozen=True):
    """Whether the configuration inside a project counts. NAME is the project's absolute path."""

    trust_level: Literal["trusted", "untrusted"]  # untrusted: without the warning that it is unused


@attrs.frozen
class Config:
    """The whole configuration, checked. Made by `load_config`."""

    model: str = "gpt-5.5"  # the model, as the provider names it
    model_provider: str = "openai"  # id of a provider, a table below `model_providers`
    model_providers: dict[str, ProviderConfig] = attrs.field(factory=dict[str, ProviderConfig])
    openai_base_url: str | None = None  # another base URL for the provider `openai`
    model_reasoning_effort: ReasoningEffort | None = None  # how long the model may reason
    model_reasoning_summary: ReasoningSummary | None = None  # how much of its reasoning it shows
    model_verbosity: Verbosity | None = None  # how long its answers are
    model_context_window: Tokens | None = None  # in tokens; otherwise the model's known size
    # In tokens; a longer conversation is compacted. Otherwise 90 % of the window.
    model_auto_compact_token_limit: Tokens | None = None
    approval_policy: ApprovalPolicy = "never"  # when a person is asked; `exec` has the option -a
    approval_timeout_ms: Milliseconds | None = None  # how long a question waits; unset: for ever
    unanswered: UnansweredPolicy = attrs.field(factory=UnansweredPolicy)
    sandbox_mode: SandboxMode = "read-only"  # what the commands of the model may touch
    sandbox_workspace_write: WorkspaceWrite = attrs.field(factory=WorkspaceWrite)
    shell_environment_policy: ShellEnvironmentPolicy = attrs.field(
        factory=ShellEnvironmentPolicy, repr=False
    )
    base_instructions: str | None = None  # replaces the engine's own base instructions
    developer_instructions: str | None = None  # further instructions, sent as the developer's
    user_instructions: str | None = None  # further instructions, sent beside AGENTS.md
    project_root_markers: tuple[str, ...] = (".git",)  # a folder that holds one is a project's root
    project_doc_max_bytes: Bytes = 32_768  # of all AGENTS.md files together; the rest is cut off
    project_doc_fallback_filenames: tuple[str, ...] = ()  # read where a folder has no AGENTS.md
    show_raw_agent_reasoning: bool = False  # pass on the model's raw reasoning, if it sends any
    hide_agent_reasoning: bool = False  # have front-ends show no reasoning
    compact_prompt: str | None = None  # replaces the engine's own prompt for a summary
    review_model: str | None = None  # the model of reviews; otherwise the session's own
    agents: Agents = attrs.field(factory=Agents)
    undo: UndoSettings = attrs.field(factory=UndoSettings)
    durability: Durability = "strict"  # relaxed: tools start before their events are on disk
    # What happens to a turn that a crash cut off, when its session is opened again.
    on_recovery: Literal["continue", "interrupt"] = "continue"
    history: History = attrs.field(factory=History)
    profile: str | None = None  # the profile to use, unless -p names one
    # Tables of keys, by the profile's name.
    profiles: dict[str, dict[str, Any]] = attrs.field(factory=dict[str, dict[str, Any]], repr=False)
    projects: dict[str, ProjectTrust] = attrs.field(factory=dict[str, ProjectTrust])

    # Not keys: what loading found out.
    origins: Mapping[KeyPath, Origin] = attrs.field(factory=dict[KeyPath, Origin], repr=False)
    warnings: tuple[str, ...] = ()  # texts for the user

    @property
    def providers(self) -> dict[str, ProviderConfig]:
        """The providers by id, each with a name."""
        found = {
            id_: structs.replace(provider, name=provider.name or id_)
            for id_, provider in self.model_providers.items()
        }
        if self.openai_base_url is not None:
            found["openai"] = structs.replace(found["openai"], base_url=self.openai_base_url)
        return found

    def settings_set_in(self, layers: Collection[LayerName]) -> frozenset[str]:
        """Return the fields of `SessionSettings` that keys of these layers set."""
        keys = {path[0] for path, origin in self.origins.items() if origin.layer in layers}
        return frozenset(setting for key, setting in SETTING_OF_KEY.items() if key in keys)

    def session_settings(self, cwd: str | os.PathLike[str]) -> SessionSettings:
        """Return the settings of a new session that works in `cwd`.

        Raises:
            UsageError: the folder's name is not UTF-8, so that the log could not hold it.
        """
        folder = os.path.abspath(cwd)
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise UsageError(
                ErrorCode.CONFIG_INVALID,
                f"{os.fsencode(folder)!r}: the working folder's name is not UTF-8. Rename it, or "
                "work in another one.",
            ) from None
        workspace = self.sandbox_workspace_write
        return SessionSettings(
            cwd=folder,
            model=self.model,
            model_provider=self.model_provider,
            approval_policy=self.approval_policy,
            sandbox=SandboxPolicy(
                mode=self.sandbox_mode,
                writable_roots=workspace.writable_roots,
                network_access=workspace.network_access,
                exclude_tmpdir_env_var=workspace.exclude_tmpdir_env_var,
                exclude_slash_tmp=workspace.exclude_slash_tmp,
            ),
            reasoning_effort=self.model_reasoning_effort,
            reasoning_summary=self.model_reasoning_summary,
            verbosity=self.model_verbosity,
            base_instructions=self.base_instructions,
            developer_instructions=self.developer_instructions,
            user_instructions=self.user_instructions,
            show_raw_agent_reasoning=self.show_raw_agent_reasoning,
            shell_environment=self.shell_environment_policy,
            model_context_window=self.model_context_window,
            model_auto_compact_token_limit=self.model_auto_compact_token_limit,
            durability=self.durability,
            review_model=self.review_model,
            agents=AgentLimits(self.agents.max_threads, self.agents.max_depth),
            scan_workspace=self.undo.scan_workspace,
        )

    def turn_limits(self, session: SessionSettings, *, asks_model: bool = True) -> TurnSettings:
        """Return what a turn of `session` runs under, as far as it is configured.

        What depends on the model alone is left at its default.

        Args:
            asks_model: whether the turn needs the session's provider.

        Raises:
            UsageError: the session's provider is configured no longer.
        """
        provider = self.model_providers.get(session.model_provider)
        if provider is None and asks_model:
            raise UsageError(
                ErrorCode.CONFIG_INVALID,
                f"this session uses the model provider {session.model_provider!r}, which is not "
                f"configured here. Add [model_providers.{session.model_provider}], or start a "
                "session with another one.",
            )
        return TurnSettings(
            session=session,
            retry=RetryLimits() if provider is None else provider.retry_limits,
            approval_timeout_ms=self.approval_timeout_ms,
            unanswered=self.unanswered,
            compaction=CompactionLimits(prompt=self.compact_prompt),
        )


BUILT_IN: Final = Layer(
    DEFAULT,
    {
        "model_providers": {
            "openai": {
                "name": "OpenAI",
                "base_url": "https://api.openai.com/v1",
                "env_key": "OPENAI_API_KEY",
            }
        }
    },
)


def key_names(kind: type[object]) -> tuple[str, ...]:
    """Return the keys that a table of this kind may have."""
    if issubclass(kind, Struct):
        return kind.__struct_fields__
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind) if field.name not in _NOT_KEYS)
    return ()


def is_secret(path: KeyPath) -> bool:
    """Whether a key's value must not be shown."""
    match path:
        case ("model_providers", _, name, *_):
            return name in _SECRET_FIELDS
        case ("shell_environment_policy", "set", *_):
            return True
        case _:
            return False
