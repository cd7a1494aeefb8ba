"""Input in every kind of turn and in every state of one: used, queued, or refused with a reason."""

from collections.abc import Callable

import pytest
from hypothesis import given

from tests.core.compacting import grown, kinds, limited, told
from tests.core.play import SETTINGS, Play, function_call, known, user
from tests.strategies import sessions
from turnlog.actors.core import texts
from turnlog.actors.core.rebuild import rebuild
from turnlog.actors.core.state import State, Turn
from turnlog.protocol.calls import ModelFailure, ToolPlan
from turnlog.protocol.events import (
    ContextAsked,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    OpReceived,
    OpRefused,
    RecordedItem,
    TurnEnded,
    TurnOpened,
)
from turnlog.protocol.ops import (
    Compact,
    ImageInput,
    Op,
    Review,
    RunUserShellCommand,
    Shutdown,
    TextInput,
    Undo,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import OnRecovery, SettingsUpdate, TurnSettings

OUTSIDE = ToolPlan("exec_command", parallel=True, wants="outside", approval_key="rm")
SCHEMA = {"type": "object"}


# --- in the states of a turn ----------------------------------------------------------------------


def loading() -> Play:
    play = Play.started()
    play.say("go")
    return play


def asking() -> Play:
    play = Play.started()
    play.ask("go")
    return play


def calling() -> Play:
    play = asking()
    play.call("c1")
    play.complete()
    return play


def questioned() -> Play:
    play = asking()
    play.item(function_call("c1"), OUTSIDE)
    play.complete()
    return play


def retrying() -> Play:
    play = asking()
    play.fail(ModelFailure("server_error", "503", "request"))
    return play


def compacting() -> Play:
    play = grown(limited(at_tokens=350))
    play.ask("go")
    return play


@pytest.mark.parametrize("state", [loading, asking, calling, questioned, retrying, compacting])
def test_a_word_goes_with_the_next_request_whatever_the_turn_waits_for(
    state: Callable[[], Play],
) -> None:
    play = state()
    assert play.op(UserInput((TextInput("word"),)), "op-w") == [InputQueued("op-w", "request")]
    while user("word") not in play.state.history.texts():
        play.close(next(iter(play.state.outstanding.values())))
    assert play.state.turns == (4 if state is compacting else 1)
    asked = [event for event in play.events if isinstance(event, ModelAsked)][-1]
    assert asked.parts == len(play.state.history.parts)


def test_a_word_while_a_question_is_open_waits_for_its_answer_and_the_outputs() -> None:
    play = questioned()
    play.say("stop at ten")
    assert kinds(play.answer("approved")) == ["ToolDispatched"]
    assert kinds(play.finish(0)) == ["ItemsRecorded", "ModelAsked"]
    assert told(play) == ["go", "function_call c1", "function_call_output c1", "stop at ten"]


def test_a_word_while_a_question_is_open_is_told_after_an_abort() -> None:
    play = questioned()
    play.say("stop at ten")
    play.answer("abort")
    assert told(play)[-2:] == ["stop at ten", texts.TURN_ABORTED]


def test_words_keep_their_order() -> None:
    play = calling()
    for text in ("one", "two", "three"):
        play.say(text)
    play.finish(0)
    assert told(play)[-3:] == ["one", "two", "three"]


# --- a turn of its own ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op",
    [
        UserInput((TextInput("word"),), queue=True),
        UserTurn((TextInput("word"),), queue=True),
        UserTurn((TextInput("word"),), final_output_json_schema=SCHEMA),
    ],
)
def test_input_that_asks_for_a_turn_of_its_own_gets_it_after_the_one_that_runs(op: Op) -> None:
    play = calling()
    assert play.op(op, "op-q") == [InputQueued("op-q", "turn")]
    assert kinds(play.finish(0)) == ["ModelAsked"]
    ended, opened, _ = play.complete()
    assert isinstance(ended, TurnEnded)
    assert isinstance(opened, TurnOpened)
    assert (opened.turn, opened.op_id) == (2, "op-q")
    assert play.state.turn is not None
    assert play.state.turn.op.op == op


@pytest.mark.parametrize("op", [UserInput((TextInput("word"),), queue=True)])
def test_input_that_asks_for_a_turn_starts_it_at_once_in_a_session_at_rest(op: Op) -> None:
    assert kinds(Play.started().op(op)) == ["TurnOpened", "ContextAsked"]


def test_queued_turns_run_in_order_and_words_go_to_the_one_that_runs() -> None:
    play = asking()
    for text in ("two", "three"):
        play.op(UserInput((TextInput(text),), queue=True))
    play.say("word")
    play.complete()  # the word is told
    play.complete()
    play.load()
    play.say("to two")
    play.complete()
    play.complete()
    play.load()
    assert told(play) == ["go", "word", "two", "to two", "three"]


def test_an_interrupt_stops_the_turn_that_runs_and_not_those_that_wait() -> None:
    play = asking()
    play.op(UserInput((TextInput("two"),), queue=True))
    play.interrupt()
    decided = play.close(play.the(ModelAsked))
    assert kinds(decided) == ["ItemsRecorded", "TurnEnded", "TurnOpened", "ContextAsked"]


@pytest.mark.parametrize("task", [Compact(), Review("look"), RunUserShellCommand("make"), Undo()])
def test_input_waits_for_a_turn_of_another_kind_to_end(task: Op) -> None:
    play = grown(turns=2)
    play.op(task)
    play.load()
    image = UserInput((TextInput("word"), ImageInput("data:,")))
    assert play.op(image, "op-w") == [InputQueued("op-w", "turn")]
    decided = play.close(next(iter(play.state.outstanding.values())))
    assert kinds(decided)[-3:] == ["TurnEnded", "TurnOpened", "ContextAsked"]
    opened = decided[-2]
    assert isinstance(opened, TurnOpened)
    assert (opened.op_id, opened.kind) == ("op-w", "regular")


@pytest.mark.parametrize("task", [Review("look"), RunUserShellCommand("make")])
def test_a_task_waits_for_the_turn_that_runs(task: Op) -> None:
    play = asking()
    assert play.op(task, "op-t") == [InputQueued("op-t", "turn")]
    assert kinds(play.complete()) == ["TurnEnded", "TurnOpened", "ContextAsked"]


@pytest.mark.parametrize("op", [Compact(), Review("look"), RunUserShellCommand("ls"), Undo()])
def test_a_session_that_is_being_closed_takes_no_more_work(op: Op) -> None:
    play = asking()
    play.op(Shutdown())
    (refused,) = play.op(op, "op-t")
    assert refused == OpRefused("op-t", "closing", "the session is being closed")


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [False, True])
def test_settings_of_input_during_a_turn_last_from_the_next_turn_on(*, queue: bool) -> None:
    play = asking()
    update = SettingsUpdate(model="gpt-2", cwd="/b")
    play.op(UserTurn((TextInput("word"),), update, queue=queue))
    assert isinstance(play.state.turn, Turn)
    assert play.state.turn.settings.session == SETTINGS
    play.settle(4)
    play.ask("next")
    assert isinstance(play.state.turn, Turn)
    assert play.state.turn.settings.session == update.apply(SETTINGS)


@given(sessions())
def test_a_change_of_settings_alters_later_turns_alone(play: Play) -> None:
    state, began_with = State(), dict[int, TurnSettings]()
    for record in play.records:
        rebuild([record], state)
        if isinstance(state.turn, Turn):
            settings = state.turn.settings
            assert began_with.setdefault(state.turn.number, settings) == settings


REFUSED: list[tuple[str, OnRecovery, tuple[TextInput, ...]]] = [
    ("empty_input", "continue", ()),
    ("not_resumed", "leave", (TextInput("go"),)),
]


@pytest.mark.parametrize(("code", "door", "items"), REFUSED)
def test_settings_of_input_that_is_refused_change_nothing(
    code: str, door: OnRecovery, items: tuple[TextInput, ...]
) -> None:
    play = Play.started()
    play.open(door)
    before = play.state.settings
    (refused,) = play.op(UserTurn(items, SettingsUpdate(model="another")))
    assert isinstance(refused, OpRefused)
    assert (refused.code, play.state.settings) == (code, before)


@given(sessions())
def test_no_input_is_dropped_silently(play: Play) -> None:
    events = known(play.records)
    heard: set[str] = set()
    for event in events:
        match event:
            case TurnOpened(op_id=op_id) | InputQueued(op_id=op_id) | OpRefused(op_id=op_id):
                heard.add(op_id)
            case _:
                pass
    for event in events:
        if isinstance(event, OpReceived) and isinstance(event.op, UserInput | UserTurn):
            assert event.op_id in heard


@given(sessions())
def test_every_word_that_was_to_be_told_is_told_once(play: Play) -> None:
    play.settle(200)
    if play.state.closed or play.state.maintenance:
        play.open()
        play.settle(200)
    events = known(play.records)
    ops = {one.op_id: one.op for one in reversed(events) if isinstance(one, OpReceived)}
    told_parts = [
        item.item_json
        for one in events
        if isinstance(one, ItemsRecorded)
        for item in one.items
        if item.kind == "user"
    ]
    for event in events:
        if isinstance(event, InputQueued) and event.until == "request":
            op = ops[event.op_id]
            assert isinstance(op, UserInput | UserTurn)
            text = op.items[0]
            assert isinstance(text, TextInput)
            assert sum(f'"{text.text}"' in part for part in told_parts) == 1


def test_a_word_before_the_context_is_there_is_not_lost_by_an_interrupt() -> None:
    play = loading()
    play.say("word")
    play.interrupt()
    decided = play.close(play.the(ContextAsked))
    assert decided[0] == ItemsRecorded(
        (
            RecordedItem("user", user("go")),
            RecordedItem("user", user("word")),
            RecordedItem("turn_aborted", user(texts.TURN_ABORTED)),
        )
    )
