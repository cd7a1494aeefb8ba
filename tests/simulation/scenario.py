"""Scenarios: everything that happens to a simulated engine, as data that one seed gives.

A scenario is lists of small parts that mean the same without their neighbours, so that one which
fails can be made smaller by leaving parts out.
"""

from random import Random
from typing import Final, Literal

from msgspec import Struct, structs

from tests.simulation.acts import Act, Tell, drawn_act
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.ops import ApprovalAnswer, prompt
from turnlog.protocol.settings import ApprovalPolicy, Durability, Unanswered

ToolEnd = Literal["done", "failed", "raises", "never"]


class ToolScript(Struct, frozen=True, omit_defaults=True):
    """What a call does. It is in the call's arguments, so that it survives every crash."""

    ms: int = 0
    end: ToolEnd = "done"
    size: int = 2  # characters of output
    overlaps: bool = True
    outside: bool = False
    key: str = ""  # of its approval
    refusal: str | None = None
    has_last_words: bool = False  # says something when it is cancelled
    announces: bool = True  # that it starts
    denied: bool = False  # its sandbox stops it, if it runs in one
    writes: str = ""  # a file's name
    secretly: bool = False  # it does not say what it writes


class Say(Struct, frozen=True, tag=True):
    text: str


class Think(Struct, frozen=True, tag=True): ...


class CallTool(Struct, frozen=True, tag=True):
    script: ToolScript
    custom: bool = False


AgentDeed = Literal["spawn", "tell", "await", "close", "list"]


class LeadAgent(Struct, frozen=True, tag=True):
    """A call by which the model leads its agents."""

    deed: AgentDeed
    which: int = 0  # counted over the agents that there are by then
    interrupt: bool = False
    timeout_ms: int = 100


class ReportLimits(Struct, frozen=True, tag=True): ...


class Odd(Struct, frozen=True, tag=True):
    """An item that no release expects."""

    item_json: str  # in it, ID stands for the item's own id


Part = Say | Think | CallTool | LeadAgent | ReportLimits | Odd
End = Literal["completed", "silence", "raises", "never"] | ModelFailure


class Response(Struct, frozen=True):
    """One attempt at the model."""

    parts: tuple[Part, ...]
    end: End = "completed"
    pace_ms: int = 0  # before each part
    unfinished: str = ""  # text of a message that never ends


class Answer(Struct, frozen=True):
    """What becomes of a question."""

    decision: ApprovalAnswer = "approved"
    delay_ms: int = 0
    times: int = 1  # 0: nobody answers


class Surroundings(Struct, frozen=True):
    """What stays the same throughout."""

    policy: ApprovalPolicy = "on-request"
    durability: Durability = "strict"
    request_retries: int = 1
    stream_retries: int = 1
    approval_timeout_ms: int | None = None
    queue_bytes: int = 1 << 20
    latency_ms: int = 0  # of a commit, at most
    snapshot_every: int = 1000  # events
    patience_ms: int = 0  # how long turns may last before the engine is closed
    compact_at: int | None = None  # tokens
    window: int | None = None  # tokens; one of the models has half of it
    unanswered: Unanswered = "decline"
    scans: bool = False  # the workspace, before tools run
    most_agents: int = 0
    done_ms: int = 0  # how long the model takes to say that it is done


class Scenario(Struct, frozen=True):
    """All of it. `seed` draws what is left to chance: ids, the disk's latency, the schedule."""

    seed: int
    around: Surroundings
    responses: tuple[
        Response, ...
    ] = ()  # one an attempt; after them the model says that it is done
    answers: tuple[Answer, ...] = ()  # one a question; after them all is approved
    acts: tuple[Act, ...] = ()
    summaries: tuple[Response, ...] = ()  # one an attempt; after them a good one


FAILURES: Final = (
    ModelFailure("server_error", "503", "request"),
    ModelFailure("stream_disconnected", "stream closed", "stream"),
    ModelFailure("rate_limited", "slow down", "request", retry_after_ms=40),
    ModelFailure("context_window_exceeded", "too long"),
)
ODD_ITEMS: Final = (
    '{"type":"web_search_call","id":"ID","status":"completed"}',
    '{"type":"a_newer_kind","id":"ID"}',
    '{"type":"function_call_output","call_id":"never called","output":"made up"}',
    "no JSON at all",
    '{"type":"function_call","call_id":"broken","name":7,"arguments":""}',
)
POLICIES: Final[tuple[ApprovalPolicy, ...]] = ("on-request", "untrusted", "on-failure", "never")
DECISIONS: Final[tuple[ApprovalAnswer, ...]] = (
    *("approved", "approved", "approved_for_session"),
    *("denied", "abort"),
)
AGENT_DEEDS: Final[tuple[AgentDeed, ...]] = (
    *("spawn", "spawn", "spawn", "tell", "tell"),
    *("await", "await", "close", "list"),
)
SPAN_MS: Final = 600  # in which everything happens


def drawn(seed: int) -> Scenario:
    """Return the scenario of a seed: always the same one."""
    random = Random(seed)
    around = Surroundings(
        random.choice(POLICIES),
        random.choice(("strict", "strict", "strict", "relaxed")),
        random.randrange(3),
        random.randrange(3),
        random.choice((None, 50, 300)),
        random.choice((1, 4000, 1 << 20)),
        random.choice((0, 0, 2, 30)),
        random.choice((10, 40, 1000)),
        random.choice((0, 50, 2000)),
        random.choice((None, None, 60, 150, 400)),
        random.choice((None, 300, 1000)),
        random.choice(("wait", "decline", "decline", "park", "park")),
        random.random() < 0.3,
        random.choice((0, 1, 2, 2)),
        random.choice((0, 0, 50, 200)),
    )
    leads = around.most_agents > 0 and random.random() < 0.7
    most = 14 if leads else 8
    responses = tuple(_response(random, leads=leads) for _ in range(random.randrange(1, most)))
    answers = tuple(_answer(random) for _ in range(random.randrange(4)))
    if around.unanswered == "park" and random.random() < 0.5:
        around = structs.replace(around, policy="untrusted", approval_timeout_ms=50)
        answers = (Answer(times=0), *answers)
    acts = [drawn_act(random, SPAN_MS) for _ in range(random.randrange(1, 12))]
    if random.random() < 0.7:
        acts.append(Tell(0, 0, prompt("begin")))
    acts.sort(key=lambda act: act.at_ms)
    summaries = tuple(_summary(random) for _ in range(random.randrange(4)))
    return Scenario(seed, around, responses, answers, tuple(acts), summaries)


def _response(random: Random, *, leads: bool = False) -> Response:
    sizes = (1, 2, 2, 3) if leads else (0, 1, 1, 2, 3, 4)
    parts = tuple(_part(random, leads=leads) for _ in range(random.choice(sizes)))
    end: End = "completed"
    match random.randrange(12):
        case 0 | 1 | 2:
            end = random.choice(FAILURES)
        case 3:
            end = random.choice(("silence", "raises", "never"))
        case _:
            pass
    unfinished = random.choice(("", "and the")) if end != "completed" else ""
    return Response(parts, end, random.choice((0, 0, 20) if leads else (0, 0, 1, 20)), unfinished)


def _summary(random: Random) -> Response:
    match random.randrange(6):
        case 0:
            return _response(random)
        case 1:
            return Response(())
        case 2:
            return Response((Say("a long story " * 400),))
        case 3:
            return Response((), FAILURES[3])
        case _:
            return Response((Say("in short"),), pace_ms=random.choice((0, 0, 20)))


def _part(random: Random, *, leads: bool) -> Part:
    if leads and random.random() < 0.6:
        return LeadAgent(
            random.choice(AGENT_DEEDS),
            random.randrange(3),
            random.random() < 0.3,
            random.choice((0, 30, 500)),
        )
    match random.randrange(12):
        case 0 | 1:
            return Say(f"word {random.randrange(100)}")
        case 2 | 3:
            return Think()
        case 4:
            return ReportLimits()
        case 5:
            return Odd(random.choice(ODD_ITEMS))
        case _:
            return CallTool(drawn_script(random), custom=random.random() < 0.3)


def drawn_script(random: Random) -> ToolScript:
    """Return what some call does."""
    return ToolScript(
        ms=random.choice((0, 0, 1, 10, 100)),
        end=random.choice(("done", "done", "done", "done", "failed", "raises", "never")),
        size=random.choice((0, 2, 2, 5000)),
        overlaps=random.random() < 0.7,
        outside=random.random() < 0.3,
        key=random.choice(("", "ls", "rm")),
        refusal="no such tool" if random.random() < 0.1 else None,
        has_last_words=random.random() < 0.5,
        announces=random.random() < 0.9,
        denied=random.random() < 0.15,
        writes=random.choice(("", "", "", "a", "b")),
        secretly=random.random() < 0.3,
    )


def _answer(random: Random) -> Answer:
    return Answer(
        random.choice(DECISIONS), random.choice((0, 5, 60, 400)), random.choice((0, 1, 1, 1, 2))
    )
