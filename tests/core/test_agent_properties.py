"""What holds of the agents of every session, whatever they, their models and their machine do."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.oracle import assert_sound, closers
from tests.core.play import Play
from tests.core.world import World
from turnlog.protocol.events import (
    CallSettled,
    ChildAsked,
    ChildEnded,
    ItemsRecorded,
    SessionEvent,
    SessionForked,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ids import EffectId


def offices() -> st.SearchStrategy[Play]:
    """Draw a session whose model does little but lead its agents."""

    def live(dice: bytes) -> Play:
        world = World(dice)
        world.model_does = "lead"
        world.live(dice[0] % 40)
        return world.play

    return st.binary(min_size=150, max_size=400).map(live)


def at_rest(play: Play) -> None:
    play.settle(200)
    if play.state.closed or play.state.maintenance:
        play.open()
        play.settle(200)


def results(events: list[SessionEvent]) -> set[str]:
    """Return what agents came to, each time they were heard of. Each is a text of its own."""
    ends = [closed for by in closers(events).values() for closed in by]
    return {one.output for one in ends if isinstance(one, ChildEnded) and one.output}


def tellings(events: list[SessionEvent], result: str) -> int:
    """Return how often the model was told of a result."""
    times = 0
    for event in events:
        match event:
            case CallSettled(output=output):
                times += output.count(result)
            case ItemsRecorded(items=items):
                times += sum(item.item_json.count(result) for item in items)
            case _:
                pass
    return times


@given(offices())
def test_every_run_of_an_agent_comes_to_one_end(play: Play) -> None:
    at_rest(play)
    assert_sound(play)
    runs = {one.effect for one in play.events if isinstance(one, ChildAsked)}
    ends = closers(play.events)
    assert [len(ends[effect]) for effect in runs] == [1] * len(runs)
    assert {agent.status for agent in play.state.agents.values()} <= {
        *("completed", "failed", "interrupted"),
    }


@given(offices())
def test_the_model_is_told_of_every_result_once(play: Play) -> None:
    at_rest(play)
    forgets = any(isinstance(event, SessionForked) for event in play.events)
    for result in results(play.events):
        assert tellings(play.events, result) in ((0, 1) if forgets else (1,))


@given(offices())
def test_no_agent_works_while_no_turn_runs(play: Play) -> None:
    opened, running = False, set[EffectId]()
    ends = {id(by[0]): effect for effect, by in closers(play.events).items() if by}
    for event in play.events:
        match event:
            case TurnOpened():
                opened = True
            case TurnEnded():
                assert not running
                opened = False
            case ChildAsked(effect=effect):
                assert opened
                running.add(effect)
            case _:
                pass
        running.discard(ends.get(id(event), EffectId("")))
