"""The core of sub-agents: what the session does about the calls by which the model leads them.

An agent is a session of its own. A prompt starts its work. Once it is idle, the model is told about
its end exactly once: by the call that waits for it, or with the next request. A turn ends when its
agents are idle. So no agent is left running, and no result is lost.
"""

import json
from collections.abc import Iterable, Iterator

from msgspec import structs

from turnlog.actors.core import ledger, texts
from turnlog.actors.core.settling import settled
from turnlog.actors.core.state import Agent, Call, State, Turn
from turnlog.protocol.calls import (
    AgentRequest,
    AwaitAgents,
    CloseAgent,
    ListAgents,
    SpawnAgent,
    TellAgent,
)
from turnlog.protocol.events import (
    AgentsAwaited,
    CallSettled,
    ChildAsked,
    ChildStopping,
    ChildTold,
    OpeningDecision,
    RecordedItem,
    SessionDecision,
)
from turnlog.protocol.ids import EffectId, SessionId, effect_id, mint
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import SessionSettings


def act(state: State, turn: Turn, call: Call, request: AgentRequest) -> Iterator[SessionDecision]:
    """Yield what is done about a call, and its answer."""
    match request:
        case SpawnAgent():
            yield from _spawn(state, turn, call, request)
        case TellAgent(agent=name) | CloseAgent(agent=name):
            agent = state.agents.get(SessionId(name))
            if agent is None or agent.closed:
                yield _answer(call, {"error": _no_such(state, name, agent)})
            elif isinstance(request, TellAgent):
                yield from _tell(state, call, request, agent)
            else:
                yield from _close(state, call, request, agent)
        case AwaitAgents():
            yield from _await(state, call, request)
        case ListAgents():
            agents = [_line(state, child, agent) for child, agent in state.agents.items()]
            yield _answer(call, {"agents": agents})


def _answer(call: Call, answer: dict[str, object], note: str = "") -> CallSettled:
    text = json.dumps(answer, ensure_ascii=False)
    return settled(call, "answered", text, note)


def _no_such(state: State, name: str, agent: Agent | None) -> str:
    if agent is not None:
        return f"agent {name} was closed"
    known = ", ".join(state.agents) or "none"
    return f"there is no agent {name!r} here; there are: {known}"


def running(state: State) -> int:
    """Return how many agents work."""
    return sum(agent.status == "running" for agent in state.agents.values())


def _spawn(state: State, turn: Turn, call: Call, request: SpawnAgent) -> Iterator[SessionDecision]:
    parent = turn.settings.session
    if (why := _no_room(state, parent)) is not None:
        yield _answer(call, {"error": why})
        return
    child = SessionId(mint(state.session, state.time_us, state.facts, "child", call.number))
    name = request.name or f"agent-{len(state.agents) + 1}"
    settings = structs.replace(
        parent,
        model=request.model or parent.model,
        reasoning_effort=request.reasoning_effort or parent.reasoning_effort,
        depth=parent.depth + 1,
    )
    yield _run(state, call.number, child, name, request.message, settings, run=1)
    note = ledger.spawned(child, name, request.message)
    yield _answer(call, {"agent_id": child, "nickname": name}, note)


def _no_room(state: State, settings: SessionSettings) -> str | None:
    limits = settings.agents
    if settings.depth >= limits.most_depth:
        return f"agents nest {limits.most_depth} deep at most: do this yourself"
    if running(state) >= limits.most_running:
        return (
            f"{limits.most_running} agents are running, which is the most; wait for one of them, "
            "or close one"
        )
    return None


def _run(
    state: State,
    number: int,
    child: SessionId,
    name: str,
    prompt: str,
    settings: SessionSettings,
    *,
    run: int,
) -> ChildAsked:
    effect = effect_id(state.facts, "child", number)
    return ChildAsked(effect, child, "agent", name, run, prompt, settings)


def _tell(state: State, call: Call, request: TellAgent, agent: Agent) -> Iterator[SessionDecision]:
    child = SessionId(request.agent)
    answer: dict[str, object] = {"agent_id": request.agent, "status": "running"}
    if child in state.results:
        answer["previous"] = _status(state, child, agent)
    if agent.status == "running":
        effect = effect_id(state.facts, "tell", call.number)
        op_id = f"{state.session}/{state.facts}/{call.number}"
        yield ChildTold(effect, child, op_id, request.message, request.interrupt)
    elif (why := _no_room(state, structs.replace(agent.settings, depth=0))) is not None:
        yield _answer(call, {"error": why})
        return
    else:
        settings, run = agent.settings, agent.runs + 1
        yield _run(state, call.number, child, agent.name, request.message, settings, run=run)
    yield _answer(call, answer)


def tell_again(state: State, told: ChildTold) -> Iterator[SessionDecision]:
    """Give an agent that had just become idle, as a prompt, what should have steered it.

    It may be one more than the most that run: the model was told that it is at work.
    """
    agent = state.agents.get(told.child)
    if agent is None or agent.closed:
        return
    if agent.status == "running":  # it is about to begin
        yield structs.replace(told, effect=effect_id(state.facts, "tell-again"))
    else:
        settings, run = agent.settings, agent.runs + 1
        yield _run(state, 0, told.child, agent.name, told.text, settings, run=run)


def _close(
    state: State, call: Call, request: CloseAgent, agent: Agent
) -> Iterator[SessionDecision]:
    child = SessionId(request.agent)
    run = _run_of(state, child)
    yield ChildStopping(EffectId("") if run is None else run.effect, child)  # recorded: no null
    yield _answer(call, {"agent_id": request.agent, "previous_status": agent.status})


def _run_of(state: State, child: SessionId) -> ChildAsked | None:
    """Return what runs a child; None while it is idle."""
    return next((asked for asked in state.open(ChildAsked) if asked.child == child), None)


def _await(state: State, call: Call, request: AwaitAgents) -> Iterator[SessionDecision]:
    unknown = [name for name in request.agents if SessionId(name) not in state.agents]
    if unknown:
        yield _answer(call, {"error": _no_such(state, unknown[0], None)})
    elif any(state.agents[SessionId(name)].status != "running" for name in request.agents):
        yield _report(state, call, request, timed_out=False)
    else:
        effect = effect_id(state.facts, "await", call.number)
        yield AgentsAwaited(effect, call.number, call.item.call_id, request.timeout_ms)


def _report(state: State, call: Call, request: AwaitAgents, *, timed_out: bool) -> CallSettled:
    status = {
        name: _status(state, SessionId(name), state.agents[SessionId(name)])
        for name in request.agents
        if state.agents[SessionId(name)].status != "running"
    }
    return _answer(call, {"status": status, "timed_out": timed_out})


def _status(state: State, child: SessionId, agent: Agent) -> object:
    if agent.status in ("completed", "failed"):
        return {agent.status: state.results.get(child)}
    if unheard := state.results.get(child):
        return {agent.status: unheard}
    return agent.status


def _line(state: State, child: SessionId, agent: Agent) -> dict[str, object]:
    shown = "closed" if agent.closed and agent.status != "running" else agent.status
    return {
        "agent_id": child,
        "nickname": agent.name,
        "status": shown,
        "tokens": agent.tokens,
    }


def settle_waiting(
    state: State, turn: Turn, *, timed_out: int | None = None
) -> Iterator[SessionDecision]:
    """Answer the calls that wait for an agent that is idle now, or whose time is over."""
    for call in tuple(turn.calls):
        request = call.plan.agent
        if not isinstance(request, AwaitAgents) or not _waits(turn, call):
            continue
        idle = any(state.agents[SessionId(name)].status != "running" for name in request.agents)
        if idle or call.number == timed_out:
            yield _report(state, call, request, timed_out=not idle)


def _waits(turn: Turn, call: Call) -> bool:
    """Say whether a call waits for agents, or did until a crash, and its turn stops now."""
    return call.status == "awaiting" or (
        call.status == "waiting" and call.waited and turn.stopping is not None
    )


def unreported(state: State) -> tuple[RecordedItem, ...]:
    """Return what the model has not heard of agents that rest."""
    return tuple(
        RecordedItem("agent", text_message("user", _notification(state, child, agent)))
        for child, agent in state.agents.items()
        if agent.status != "running" and child in state.results
    )


def _notification(state: State, child: SessionId, agent: Agent) -> str:
    told = {"agent_id": child, "nickname": agent.name, "status": _status(state, child, agent)}
    text = json.dumps(told, ensure_ascii=False)
    return texts.AGENT_ENDED.format(text=text)


def ask_lost(state: State, lost: Iterable[OpeningDecision]) -> Iterator[SessionDecision]:
    """Ask again for what an engine that is gone had asked of children: they may rest already."""
    for number, effect in enumerate(lost):
        if isinstance(effect, ChildAsked):
            name = effect_id(state.facts, "child-again", number)
            yield structs.replace(effect, effect=name)
            agent = state.agents.get(effect.child)
            if agent is not None and agent.closed:
                yield ChildStopping(name, effect.child)
        elif isinstance(effect, ChildTold):
            name = effect_id(state.facts, "tell-again", number)
            yield structs.replace(effect, effect=name)
