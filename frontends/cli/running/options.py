"""The options of `turnlog exec`, as the command line has them."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from turnlog.frontends.sessions.settings import ChosenSettings
from turnlog.protocol.settings import ApprovalPolicy, SandboxMode

Action = Literal["start", "resume", "fork"]


class Options(Struct, frozen=True):
    """What the command line says, before anything of it is looked at."""

    action: Action
    session: str | None
    prompt: str | None
    at: int | None
    model: str | None
    sandbox: SandboxMode | None
    add_dirs: tuple[str, ...]
    chosen: ChosenSettings
    images: tuple[str, ...]
    schema: Path | None
    ephemeral: bool
    approvals: ApprovalPolicy | None = None
