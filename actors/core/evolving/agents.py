"""What events mean for the sub-agents of a session."""

from collections.abc import Iterable
from typing import Literal

from msgspec import structs

from turnlog.actors.core.state import Agent, Call, State, Turn
from turnlog.protocol.calls import AwaitAgents, TellAgent
from turnlog.protocol.events import ChildAsked, ChildEnded, ChildStopping
from turnlog.protocol.ids import SessionId


def child_asked(state: State, turn: Turn, decision: ChildAsked) -> None:
    """A child session got a prompt. A reviewer is not listed among the agents."""
    turn.begun = True
    if decision.kind == "review":
        return
    known = state.agents.get(decision.child)
    state.agents[decision.child] = (
        Agent(decision.name, decision.settings)
        if known is None
        else structs.replace(known, status="running", runs=decision.run)
    )


def child_stopping(state: State, decision: ChildStopping) -> None:
    """An agent was closed: it takes no more work."""
    if (agent := state.agents.get(decision.child)) is not None:
        state.agents[decision.child] = structs.replace(agent, closed=True)


def child_ended(state: State, turn: Turn, fact: ChildEnded) -> None:
    """A child is idle. The model does not know it yet."""
    agent = state.agents.get(fact.child)
    if agent is None:
        turn.child_end = fact
        return
    usage = fact.usage
    state.agents[fact.child] = structs.replace(
        agent,
        status=fact.status,
        ends=(*agent.ends, state.head),
        tokens=agent.tokens if usage is None else usage.total_tokens,
    )
    _add_result(state, fact.child, result_text(fact))


def _add_result(state: State, child: SessionId, text: str) -> None:
    """Keep what an agent came to, after what it came to before if the model does not know that."""
    state.results[child] = joined_results((state.results.get(child, ""), text))


def joined_results(texts: Iterable[str]) -> str:
    """Return several results of one agent, oldest first, as one text."""
    return "\n\n".join(filter(None, texts))


def result_text(fact: ChildEnded) -> str:
    """Return an agent's result, as the model is told."""
    if fact.error is not None:
        return f"{fact.error.code}: {fact.error.message}"
    return fact.output or ""


def child_lost(
    state: State, asked: ChildAsked, how: Literal["failed", "cancelled", "crashed"]
) -> None:
    """What ran a child ended without its end: the engine could not reach it."""
    agent = state.agents.get(asked.child)
    if agent is not None:
        status: Literal["interrupted", "failed"] = "interrupted" if how == "cancelled" else "failed"
        state.agents[asked.child] = structs.replace(agent, status=status)
        _add_result(state, asked.child, "")


def told_by_waiting(state: State, call: Call) -> None:
    """A call for agents was answered: with the ends of those that rest, or that rested."""
    request = call.plan.agent
    if isinstance(request, TellAgent):
        agent = state.agents.get(SessionId(request.agent))
        if agent is not None and agent.status == "running":  # else the answer is an error
            _told(state, SessionId(request.agent), agent)
    elif isinstance(request, AwaitAgents):
        children = [SessionId(name) for name in request.agents]
        if all(child in state.agents for child in children):  # else the answer is an error
            for child in children:
                tell_of(state, child)


def tell_of(state: State, child: SessionId) -> None:
    """The model knows how an agent ended, if it has."""
    agent = state.agents.get(child)
    if agent is not None and agent.status != "running":
        _told(state, child, agent)


def _told(state: State, child: SessionId, agent: Agent) -> None:
    state.agents[child] = structs.replace(agent, ends=())
    state.results.pop(child, None)
