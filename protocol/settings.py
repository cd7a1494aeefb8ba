"""The settings that a turn runs under. The log holds them, so no turn depends on later ones.

`SessionSettings` is what a user may choose and change between turns. `TurnSettings` is what one
turn was given when it started: the choice, and every limit that it implies. Both are stored with
every field, so that a later default never changes what an old turn ran under.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field, structs

ApprovalPolicy = Literal["untrusted", "on-request", "on-failure", "never"]
SandboxMode = Literal["read-only", "workspace-write", "danger-full-access"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
ReasoningSummary = Literal["auto", "concise", "detailed", "none"]
Verbosity = Literal["low", "medium", "high"]
Durability = Literal["strict", "relaxed"]
OnRecovery = Literal["continue", "interrupt", "leave"]
Unanswered = Literal["wait", "decline", "park"]


class SandboxPolicy(Struct, frozen=True):
    """What a command that the model runs may touch.

    `read-only` reads every file and writes none; `workspace-write` also writes below `cwd`,
    `writable_roots` and the temporary folders; `danger-full-access` runs plainly. The network
    is closed but for `danger-full-access`, or where `network_access` opens it.
    """

    mode: SandboxMode = "read-only"
    writable_roots: tuple[str, ...] = ()  # absolute; used by workspace-write
    network_access: bool = False  # used by workspace-write
    exclude_tmpdir_env_var: bool = False  # keep $TMPDIR read-only
    exclude_slash_tmp: bool = False  # keep /tmp read-only


class ShellEnvironmentPolicy(Struct, frozen=True):
    """Which environment variables a command inherits. The fields are applied in their order.

    A variable with KEY, SECRET or TOKEN in its name is never passed on by default.
    """

    # Where to begin. core: PATH, HOME and a few others that every program needs.
    inherit: Literal["core", "all", "none"] = "core"
    ignore_default_excludes: bool = False  # also pass on names with KEY, SECRET or TOKEN
    exclude: tuple[str, ...] = ()  # patterns of names to leave out, such as AWS_*; any case
    set: dict[str, str] = field(default_factory=dict[str, str])  # variables to set
    include_only: tuple[str, ...] = ()  # patterns of names; if given, all others are left out


class RetryLimits(Struct, frozen=True):
    """How often a model call is tried again, and how long it may be silent."""

    request_max_retries: int = 4  # before a response begins; at most 100
    stream_max_retries: int = 5  # after a stream was cut; at most 100
    stream_idle_timeout_ms: int = 300_000
    base_delay_ms: int = 200  # doubled at each attempt, and jittered by a tenth
    max_delay_ms: int = 60_000  # where the doubling stops


class UnansweredPolicy(Struct, frozen=True):
    """What happens to a question that nobody answers within `approval_timeout_ms`.

    `wait` waits for ever. `decline` declines: the model is told, and the turn continues. `park`
    closes the session with the question open. Whoever opens the session next is asked again.
    """

    command: Unanswered = "decline"  # for questions about a command
    patch: Unanswered = "decline"  # for questions about a patch


class CompactionLimits(Struct, frozen=True):
    """When a conversation is replaced by a summary of it, and what stays.

    `at_tokens` leaves room for the summary itself: 90 % of the window, unless the user says less.
    """

    at_tokens: int | None = None  # None: only when a user asks for it
    user_tokens: int = 20_000  # of the newest user messages that stay, at 4 bytes a token
    most_in_a_row: int = 3  # compactions without a prompt or a changed file between them
    prompt: str | None = None  # None: the engine's own


class AgentLimits(Struct, frozen=True):
    """How many sub-agents a session may run at once, and how deep they may nest."""

    most_running: int = 0  # 0: the model is given no tools for agents
    most_depth: int = 1


class SessionSettings(Struct, frozen=True):
    """What a user chooses. The defaults of every later turn.

    `cwd` is absolute: the core never asks for the process's current folder.
    """

    cwd: str
    model: str
    model_provider: str = "openai"
    approval_policy: ApprovalPolicy = "on-request"
    sandbox: SandboxPolicy = SandboxPolicy()
    reasoning_effort: ReasoningEffort | None = None
    reasoning_summary: ReasoningSummary | None = None
    verbosity: Verbosity | None = None
    base_instructions: str | None = None  # None: the engine's own
    developer_instructions: str | None = None
    user_instructions: str | None = None
    show_raw_agent_reasoning: bool = False
    shell_environment: ShellEnvironmentPolicy = ShellEnvironmentPolicy()
    model_context_window: int | None = None  # tokens
    model_auto_compact_token_limit: int | None = None  # tokens
    durability: Durability = "strict"
    review_model: str | None = None  # None: the session's own
    agents: AgentLimits = AgentLimits()
    depth: int = 0  # of a sub-agent below its first ancestor
    project_docs: bool = True  # whether AGENTS.md files are read
    scan_workspace: bool = False  # keep what commands change, too, so that undo brings it back


class SettingsUpdate(Struct, frozen=True, omit_defaults=True):
    """A change of settings. What is absent stays; None clears what may be None.

    A session keeps its provider: another one could not read the encrypted reasoning that the
    session continues from. At most 15 fields: with a 16th, msgpack's map header grows even for
    small updates, and the bytes of old events could not be reproduced.
    """

    cwd: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    approval_policy: ApprovalPolicy | UnsetType = UNSET
    sandbox: SandboxPolicy | UnsetType = UNSET
    reasoning_effort: ReasoningEffort | UnsetType | None = UNSET
    reasoning_summary: ReasoningSummary | UnsetType | None = UNSET
    verbosity: Verbosity | UnsetType | None = UNSET
    developer_instructions: str | UnsetType | None = UNSET
    user_instructions: str | UnsetType | None = UNSET
    shell_environment: ShellEnvironmentPolicy | UnsetType = UNSET
    model_context_window: int | UnsetType | None = UNSET
    model_auto_compact_token_limit: int | UnsetType | None = UNSET
    review_model: str | UnsetType | None = UNSET
    agents: AgentLimits | UnsetType = UNSET
    scan_workspace: bool | UnsetType = UNSET

    def apply(self, settings: SessionSettings) -> SessionSettings:
        """Return `settings` with the fields that this update names."""
        named = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not UNSET
        }
        return structs.replace(settings, **named)


class TurnSettings(Struct, frozen=True):
    """What one turn runs under, as its context loader found it."""

    session: SessionSettings
    retry: RetryLimits = RetryLimits()
    parallel_tool_calls: bool = True
    context_window: int | None = None  # tokens; None: not known for this model
    tool_output_tokens: int = 10_000  # budget of one tool output, at 4 bytes a token
    approval_timeout_ms: int | None = None  # None: a question waits for ever
    unanswered: UnansweredPolicy = UnansweredPolicy()  # after that time
    compaction: CompactionLimits = CompactionLimits()
