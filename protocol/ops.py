"""What a client asks of a session. The vocabulary is the functional model's (A7).

The client gives each op an id, so that an op that is sent twice is done once.
"""

from typing import Any, Final, Literal

from msgspec import Struct

from turnlog.protocol.settings import SettingsUpdate

ApprovalAnswer = Literal["approved", "approved_for_session", "denied", "abort"]


class _Tagged(Struct, frozen=True, omit_defaults=True, tag_field="type"): ...


class TextInput(_Tagged, frozen=True, tag="text"):
    """A text of the user."""

    text: str


class ImageInput(_Tagged, frozen=True, tag="image"):
    """An image by its URL."""

    image_url: str  # https: or data:


class LocalImageInput(_Tagged, frozen=True, tag="local_image"):
    """An image in a file of this machine."""

    path: str  # absolute; read when the turn starts


UserInputItem = TextInput | ImageInput | LocalImageInput


class Interrupt(_Tagged, frozen=True, tag="interrupt"):
    """Stop the turn. Its processes have ended before it is reported as interrupted."""


class OverrideTurnContext(_Tagged, frozen=True, tag="override_turn_context"):
    """Change the settings of later turns. The running turn keeps its own."""

    update: SettingsUpdate


class UserInput(_Tagged, frozen=True, tag="user_input"):
    """Start a turn, or steer the running one: the input is sent with the next model request."""

    items: tuple[UserInputItem, ...]
    queue: bool = False  # wait for a turn of its own, also while one runs


class UserTurn(_Tagged, frozen=True, tag="user_turn"):
    """As `UserInput`, with settings that last, and an output schema for this turn alone."""

    items: tuple[UserInputItem, ...]
    update: SettingsUpdate = SettingsUpdate()
    final_output_json_schema: dict[str, Any] | None = None
    queue: bool = False


class ExecApproval(_Tagged, frozen=True, tag="exec_approval"):
    """Answer a question about a command. `id` is the question's."""

    id: str
    decision: ApprovalAnswer


class PatchApproval(_Tagged, frozen=True, tag="patch_approval"):
    """Answer a question about a patch. `id` is the question's."""

    id: str
    decision: ApprovalAnswer


class AddToHistory(_Tagged, frozen=True, tag="add_to_history"):
    """Add a prompt to the history of prompts. Not supported yet."""

    text: str


class GetHistoryEntryRequest(_Tagged, frozen=True, tag="get_history_entry_request"):
    """Ask for an entry of the history of prompts. Not supported yet."""

    offset: int
    log_id: int


class ListMcpTools(_Tagged, frozen=True, tag="list_mcp_tools"):
    """Ask for the tools of MCP servers. Not supported yet."""


class ListCustomPrompts(_Tagged, frozen=True, tag="list_custom_prompts"):
    """Ask for the user's own prompts. Not supported yet."""


class Undo(_Tagged, frozen=True, tag="undo"):
    """Drop the last `turns` turns, and bring back the files that they changed."""

    turns: int = 1
    files: bool = True
    conversation: bool = True
    force: bool = False  # also restore files that somebody else has changed since


class Redo(_Tagged, frozen=True, tag="redo"):
    """Take the last undo back. Not possible after a prompt, a review or a compaction."""

    force: bool = False


class Compact(_Tagged, frozen=True, tag="compact"):
    """Replace the conversation by a summary, now or before the next model request."""


class RunUserShellCommand(_Tagged, frozen=True, tag="run_user_shell_command"):
    """Run the user's own command, without a sandbox. The model is not told about it."""

    command: str


class Review(_Tagged, frozen=True, tag="review"):
    """Have a separate session review the work; the conversation gets its findings."""

    prompt: str


class SetName(_Tagged, frozen=True, tag="set_name"):
    """Name the session in lists. An empty name takes it back."""

    name: str


class Archive(_Tagged, frozen=True, tag="archive"):
    """Take the session out of lists, or bring it back."""

    archived: bool = True


class Shutdown(_Tagged, frozen=True, tag="shutdown"):
    """Stop the turn, write everything, close the session. Its last event says so."""


Op = (
    Interrupt
    | OverrideTurnContext
    | UserInput
    | UserTurn
    | ExecApproval
    | PatchApproval
    | AddToHistory
    | GetHistoryEntryRequest
    | ListMcpTools
    | ListCustomPrompts
    | Undo
    | Redo
    | Compact
    | RunUserShellCommand
    | Review
    | SetName
    | Archive
    | Shutdown
)


class Submission(Struct, frozen=True):
    """An op on its way to a session: through its mailbox, or through the store's inbox."""

    op_id: str
    op: Op
    origin: str = "api"  # which door it came through


ELSEWHERE: Final = "elsewhere"  # the origin of an op that was left on another machine


def prompt(text: str, update: SettingsUpdate | None = None) -> UserTurn:
    """Return the op of a plain text prompt, with the settings that it changes."""
    return UserTurn((TextInput(text),), update or SettingsUpdate())


def op_name(op: Op) -> str:
    """Return the op's name on the wire, such as `user_turn`."""
    return str(op.__struct_config__.tag)
