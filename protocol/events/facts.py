"""Facts: what the engine could not have known."""

from typing import ClassVar

from msgspec import Struct

from turnlog.protocol.ids import SessionId
from turnlog.protocol.ops import Op
from turnlog.protocol.settings import OnRecovery, SessionSettings


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """Something that the engine could not have known."""

    ignorable: ClassVar[bool] = False  # a reader that does not know the kind may skip it


# --- the session ------------------------------------------------------------------------------


class SessionStarted(Fact, frozen=True, tag=1):
    """The first event of a session that is not a fork."""

    session: SessionId
    settings: SessionSettings
    originator: str  # which front-end
    engine: str  # turnlog's version
    spawned_by: SessionId | None = None  # the session whose sub-agent or review this is
    place: str = ""  # the store that it was made in; see `SessionOpened`


class SessionForked(Fact, frozen=True, tag=2):
    """The first event of a fork's own; what comes before it is the parent's, by reference."""

    session: SessionId
    parent: SessionId
    cut: int  # sequence of the parent's last event that counts
    digest: str  # of that event, hex
    engine: str


class SessionOpened(Fact, frozen=True, tag=3):
    """An engine became the session's writer."""

    fence: int  # of its lease; each is higher than the last
    owner: str
    engine: str
    on_recovery: OnRecovery = "continue"
    rules: int = 1  # the revision of the rules that it decides by: a replay does, too
    place: str = ""  # the store of that engine: of one machine, and one folder of it
    adopted: SessionSettings | None = None  # of this machine, for a session from another place


class SessionImported(Fact, frozen=True, tag=9):
    """What is before this came from a file. It is not taken at its word where it was made."""

    engine: str


class OpReceived(Fact, frozen=True, tag=4):
    """A client asked for something."""

    op_id: str  # of the client's making
    op: Op
    origin: str = "api"  # which door it came through
