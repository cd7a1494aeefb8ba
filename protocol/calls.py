"""What turnlog records about model calls and tool calls, inside the events that report them."""

from typing import Literal

from msgspec import Struct

from turnlog.protocol.files import FileImage, FileMark
from turnlog.protocol.settings import ReasoningEffort

FailureCode = Literal[
    "cancelled",  # the turn was stopped during the request
    "connection_failed",  # the provider could not be reached; check base_url and the network
    "stream_disconnected",  # the response was cut off
    "idle_timeout",  # the provider sent nothing for too long (stream_idle_timeout_ms)
    "server_error",  # the provider answered with an error of its own (5xx)
    "rate_limited",  # too many requests for now
    "usage_limit_reached",  # the user's plan allows no more for now; the text says until when
    "quota_exceeded",  # the account has no quota left
    "context_window_exceeded",  # the request is longer than the model can read
    "unauthorized",  # the provider did not accept the key, or needs one
    "bad_request",  # the provider refused the request; the text is the provider's
    "response_incomplete",  # the provider ended the response before it was whole
    "invalid_response",  # the answer is not what the Responses API describes
    "credential_missing",  # no key was found; see env_key, key_command and keyring
    "crashed",  # turnlog's own client failed
    "environment_fault",  # the machine refused something, or a variable cannot be used; it is named
]
Retry = Literal["never", "request", "stream"]


class ErrorInfo(Struct, frozen=True):
    """An error as a client sees it: a stable code, and a text for a person."""

    code: str
    message: str


class ModelFailure(Struct, frozen=True):
    """Why one attempt at the model ended without a completed response.

    `retry` says what a retry may count against: `request` (nothing of a response had come),
    `stream` (it was cut), or `never`. `retry_after_ms` is the provider's own wish.
    """

    code: FailureCode
    message: str
    retry: Retry = "never"
    retry_after_ms: int | None = None
    http_status: int | None = None


class FileChange(Struct, frozen=True):
    """One file that a patch touches. A moved file is listed under its old path, as an update."""

    path: str  # absolute
    kind: Literal["add", "update", "delete"]


class CommandPreview(Struct, frozen=True, tag_field="kind", tag="command"):
    """A command, as a person is shown it before and while it runs."""

    command: tuple[str, ...]  # argv, without the sandbox around it
    cwd: str


class PatchPreview(Struct, frozen=True, tag_field="kind", tag="patch"):
    """The files that a patch is going to change, sorted by path."""

    changes: tuple[FileChange, ...]


class PlanStep(Struct, frozen=True):
    """One step of the model's plan."""

    step: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


class PlanPreview(Struct, frozen=True, tag_field="kind", tag="plan"):
    """The model's list of what it is going to do, as a whole."""

    steps: tuple[PlanStep, ...]


Preview = CommandPreview | PatchPreview | PlanPreview


class SpawnAgent(Struct, frozen=True, tag_field="kind", tag="spawn"):
    """Start a sub-agent on a task. A field that is None is taken from the turn that starts it."""

    message: str
    name: str | None = None
    model: str | None = None
    reasoning_effort: ReasoningEffort | None = None


class TellAgent(Struct, frozen=True, tag_field="kind", tag="tell"):
    """Send an agent a message: it steers an agent that works, and starts one that is idle."""

    agent: str
    message: str
    interrupt: bool = False  # first stop what it does


class AwaitAgents(Struct, frozen=True, tag_field="kind", tag="await"):
    """Wait until one of these agents is idle, or the time is over."""

    agents: tuple[str, ...]
    timeout_ms: int


class CloseAgent(Struct, frozen=True, tag_field="kind", tag="close"):
    """Stop an agent, and let it take no more work."""

    agent: str


class ListAgents(Struct, frozen=True, tag_field="kind", tag="list"):
    """List the agents, and what each of them does."""


AgentRequest = SpawnAgent | TellAgent | AwaitAgents | CloseAgent | ListAgents


class NamedFile(Struct, frozen=True):
    """A file that a call names or runs, as it was when the call was planned."""

    path: str  # absolute
    mark: FileMark


class ToolPlan(Struct, frozen=True):
    """What the tool registry says about a call before it runs. Planning changes nothing.

    A `refusal` is the answer that the model gets at once: an unknown tool, bad arguments.
    `wants` is what the call needs: to run `inside` the sandbox, or `outside` of it (an escalation
    that the model asked for, or a patch to a place that the policy protects).
    """

    tool: str
    parallel: bool = False  # may overlap with others that may
    wants: Literal["inside", "outside"] = "inside"
    reason: str | None = None  # the model's justification
    approval_key: str = ""  # equal keys are the same question, for `approved_for_session`
    preview: Preview | None = None
    refusal: str | None = None
    denial: str | None = None  # the answer where the policy forbids what the call wants
    known_safe: bool = False  # it changes nothing: `untrusted` asks no question about it
    agent: AgentRequest | None = None  # what the session itself does about this call
    traceback: str | None = None  # of the error that the tool raised instead of planning
    files: tuple[NamedFile, ...] = ()  # an approval holds for these as they are, sorted by path


class Leftover(Struct, frozen=True):
    """Processes of a command that still ran at its end, and what happened to them."""

    ended: int = 0  # processes in its background that were ended with it
    names: tuple[str, ...] = ()  # of the first of them, with their pids; printable
    survivors: tuple[int, ...] = ()  # pids of processes that could not be ended
    lost: bool = False  # its end was not watched: a process of it may still run


class CommandReport(Struct, frozen=True, tag_field="kind", tag="command"):
    """How a command ended. Its output is the event's."""

    exit_code: int
    duration_ms: int
    timed_out: bool = False
    left: Leftover | None = None  # None: no process was left


class PatchReport(Struct, frozen=True, tag_field="kind", tag="patch"):
    """How a patch ended, file by file."""

    changes: tuple[FileChange, ...]
    applied: bool
    after: tuple[FileImage, ...] = ()  # the files that it touched, as it left them


ToolReport = CommandReport | PatchReport

ToolOutcome = Literal["done", "failed", "cancelled", "crashed"]


class ContextFragment(Struct, frozen=True):
    """A text that the model is told about its surroundings, such as `environment`.

    It is sent when it is new or has changed since this session last sent its kind.
    """

    kind: str
    role: Literal["developer", "user"]
    text: str
