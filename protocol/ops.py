"""What a client asks of a session. The vocabulary is the functional model's (A7).

An op arrives with an id of the client's making, so that one that is sent twice is done once.
"""

from typing import Any, Literal

from msgspec import Struct

from turnlog.protocol.settings import SettingsUpdate

ApprovalAnswer = Literal["approved", "approved_for_session", "denied", "abort"]


class _Tagged(Struct, frozen=True, omit_defaults=True, tag_field="type"): ...


class TextInput(_Tagged, frozen=True, tag="text"):
    text: str


class ImageInput(_Tagged, frozen=True, tag="image"):
    image_url: str  # https: or data:


class LocalImageInput(_Tagged, frozen=True, tag="local_image"):
    path: str  # absolute; read when the turn starts


UserInputItem = TextInput | ImageInput | LocalImageInput


class Interrupt(_Tagged, frozen=True, tag="interrupt"):
    """Stop the turn. Its processes are gone before it is reported as interrupted."""


class OverrideTurnContext(_Tagged, frozen=True, tag="override_turn_context"):
    """Change the settings of later turns. The turn that runs keeps its own."""

    update: SettingsUpdate


class UserInput(_Tagged, frozen=True, tag="user_input"):
    """Start a turn, or steer the one that runs: then it goes with the next model request."""

    items: tuple[UserInputItem, ...]


class UserTurn(_Tagged, frozen=True, tag="user_turn"):
    """As `UserInput`, with settings that last, and an output schema for this turn alone."""

    items: tuple[UserInputItem, ...]
    update: SettingsUpdate = SettingsUpdate()
    final_output_json_schema: dict[str, Any] | None = None


class ExecApproval(_Tagged, frozen=True, tag="exec_approval"):
    """Answer a question about a command. `id` is the question's."""

    id: str
    decision: ApprovalAnswer


class PatchApproval(_Tagged, frozen=True, tag="patch_approval"):
    """Answer a question about a patch. `id` is the question's."""

    id: str
    decision: ApprovalAnswer


class AddToHistory(_Tagged, frozen=True, tag="add_to_history"):
    text: str


class GetHistoryEntryRequest(_Tagged, frozen=True, tag="get_history_entry_request"):
    offset: int
    log_id: int


class ListMcpTools(_Tagged, frozen=True, tag="list_mcp_tools"): ...


class ListCustomPrompts(_Tagged, frozen=True, tag="list_custom_prompts"): ...


class Undo(_Tagged, frozen=True, tag="undo"): ...


class Compact(_Tagged, frozen=True, tag="compact"): ...


class RunUserShellCommand(_Tagged, frozen=True, tag="run_user_shell_command"):
    command: str


class Review(_Tagged, frozen=True, tag="review"):
    prompt: str


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
    | Compact
    | RunUserShellCommand
    | Review
    | Shutdown
)


class Submission(Struct, frozen=True):
    """An op on its way to a session: through its mailbox, or through the store's inbox."""

    op_id: str
    op: Op
    origin: str = "api"  # which door it came through


def prompt(text: str, update: SettingsUpdate | None = None) -> UserTurn:
    """Return the op of a plain text prompt, with the settings that it changes."""
    return UserTurn((TextInput(text),), update or SettingsUpdate())


def op_name(op: Op) -> str:
    """Return the op's name on the wire, such as `user_turn`."""
    return str(op.__struct_config__.tag)
