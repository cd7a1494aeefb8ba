"""What a transcript is made of: turns, and in each what was said, thought and done."""

from typing import Literal

import attrs

from turnlog.protocol.events import TurnKind
from turnlog.protocol.usage import TokenUsage

# `done` to `crashed` are a tool's, `completed` and `interrupted` a child's; both can be `failed`.
ToolStatus = Literal[
    "done", "failed", "cancelled", "crashed", "not run", "running", "completed", "interrupted"
]


@attrs.define
class Said:
    """A message of the user or of the model."""

    sequence: int
    time_us: int
    who: Literal["user", "assistant"]
    text: str
    images: tuple[str, ...] = ()  # data: and https: addresses
    part: int = 0  # of the event: one can record several messages
    is_withdrawn: bool = False  # the response was cut, and asked for again


@attrs.define
class Thought:
    """A summary of the model's reasoning."""

    sequence: int
    time_us: int
    text: str
    is_withdrawn: bool = False


@attrs.define
class Told:
    """What turnlog told the model itself: instructions, permissions, the environment."""

    sequence: int
    time_us: int
    kind: str
    text: str


@attrs.define
class Tool:
    """A call of the model, a user's command, or a child session, with its outcome."""

    sequence: int
    time_us: int
    name: str
    title: str  # on one line: the command, the files, the first of the arguments
    call: str  # arguments or input, as the model wrote them
    status: ToolStatus = "running"
    output: str = ""
    exit_code: int | None = None
    duration_ms: int | None = None
    is_withdrawn: bool = False


@attrs.define
class Summary:
    """What took the place of the conversation, or of its begin."""

    sequence: int
    time_us: int
    title: str  # on one line: why, how, and the tokens before and after
    text: str  # empty: the older part was cut out


@attrs.define
class Question:
    """A question about a call, and its answer."""

    sequence: int
    time_us: int
    tool: str
    title: str  # on one line: what is to be done
    reason: str = ""  # the model's
    outside: bool = False  # it is to run without the sandbox
    answer: str = "not answered"


@attrs.define
class Remark:
    """Something that happened beside the conversation."""

    sequence: int
    time_us: int
    text: str


Entry = Said | Thought | Told | Tool | Summary | Question | Remark


@attrs.define
class TurnShown:
    number: int  # 0: before the first turn
    start_us: int
    kind: TurnKind = "regular"
    model: str = ""
    end_us: int | None = None
    status: Literal["completed", "interrupted", "failed", "open"] = "open"
    error: str | None = None
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    entries: list[Entry] = attrs.field(factory=list[Entry])


@attrs.define
class Transcript:
    session: str
    title: str = ""
    cwd: str = ""
    model: str = ""
    originator: str = ""
    start_us: int = 0
    parent: str | None = None
    cut: int = 0
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    events: int = 0
    turns: list[TurnShown] = attrs.field(factory=list[TurnShown])
