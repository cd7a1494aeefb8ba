"""Input that comes while a turn runs, and what a turn tells the model before the prompt."""

from tests.core.play import SETTINGS, Play, said, user
from turnlog.actors.core import texts
from turnlog.actors.core.evolving.facts import REMEMBERED_OPS
from turnlog.actors.core.state import Turn
from turnlog.protocol.calls import ContextFragment, ErrorInfo, ModelFailure
from turnlog.protocol.events import (
    ContextAsked,
    EffectClosed,
    InputQueued,
    ItemsRecorded,
    ModelAsked,
    OpRefused,
    RecordedItem,
    SessionClosed,
    TurnEnded,
    TurnOpened,
    TurnStopping,
)
from turnlog.protocol.items import ContentPart, Message, encode_item, text_message
from turnlog.protocol.ops import (
    ImageInput,
    Interrupt,
    ListMcpTools,
    LocalImageInput,
    OverrideTurnContext,
    Shutdown,
    TextInput,
    UserInput,
    UserTurn,
)
from turnlog.protocol.settings import SettingsUpdate

MARKER = text_message("user", texts.TURN_ABORTED)


def recorded(*said_by_user: str) -> ItemsRecorded:
    return ItemsRecorded(tuple(RecordedItem("user", user(text)) for text in said_by_user))


def test_steering_goes_with_the_next_request_after_the_outputs() -> None:
    play = Play.started()
    play.ask("hi")
    play.call("c1")
    play.complete()
    assert play.say("stop at ten") == [InputQueued("op-2", "request")]
    steered, asked = play.finish(0)
    assert steered == recorded("stop at ten")
    assert isinstance(asked, ModelAsked)
    assert asked.parts == 4


def test_input_that_comes_during_the_final_answer_asks_again() -> None:
    play = Play.started()
    play.ask("hi")
    play.item(said("the final answer"))
    play.say("one more thing")
    steered, asked = play.complete()
    assert steered == recorded("one more thing")
    assert isinstance(asked, ModelAsked)
    (ended,) = play.complete()
    assert isinstance(ended, TurnEnded)


def test_input_that_comes_before_the_context_is_loaded_is_told_after_the_prompt() -> None:
    play = Play.started()
    play.say("hi")
    play.say("and hello")
    assert play.load()[0] == recorded("hi", "and hello")


def test_input_that_comes_while_a_retry_is_waited_for_goes_with_it() -> None:
    play = Play.started()
    play.ask("hi")
    play.fail(ModelFailure("server_error", "503", "request"))
    play.say("word")
    steered, asked = play.fire()
    assert steered == recorded("word")
    assert isinstance(asked, ModelAsked)
    assert (asked.request, asked.attempt, asked.parts) == (1, 2, 2)


def test_an_image_file_waits_for_the_next_turn_since_only_a_start_reads_files() -> None:
    play = Play.started()
    play.ask("hi")
    picture = UserInput((TextInput("see"), LocalImageInput("/a.png")))
    assert play.op(picture) == [InputQueued("op-2", "turn")]
    ended, opened, asked = play.complete()
    assert isinstance(ended, TurnEnded)
    assert isinstance(opened, TurnOpened)
    assert (opened.turn, opened.op_id) == (2, "op-2")
    assert isinstance(asked, ContextAsked)


def test_an_image_by_its_address_steers() -> None:
    play = Play.started()
    play.ask("hi")
    play.op(UserInput((ImageInput("https://example.org/a.png"),)))
    steered, _ = play.complete()
    part = ContentPart("input_image", image_url="https://example.org/a.png")
    assert steered == ItemsRecorded((RecordedItem("user", encode_item(Message("user", [part]))),))


def test_a_picture_of_a_turn_that_never_got_its_context_is_named() -> None:
    play = Play.started()
    play.op(UserInput((LocalImageInput("/a.png"),)))
    play.interrupt()
    play.settle(1)
    assert play.state.history.texts() == [user("[image: /a.png]"), MARKER]


def test_input_that_comes_while_a_turn_stops_is_the_next_turn() -> None:
    play = Play.started()
    play.ask("one")
    assert play.interrupt() == [TurnStopping("interrupted")]
    assert play.say("two") == [InputQueued("op-3", "turn")]
    marked, ended, opened, asked = play.close(next(iter(play.state.outstanding.values())))
    assert marked == ItemsRecorded((RecordedItem("turn_aborted", MARKER),))
    assert isinstance(ended, TurnEnded)
    assert ended.status == "interrupted"
    assert isinstance(opened, TurnOpened)
    assert opened.op_id == "op-3"
    assert isinstance(asked, ContextAsked)


def test_an_interrupt_loses_no_input_that_the_model_has_not_read() -> None:
    play = Play.started()
    play.say("prompt")
    play.say("word")
    play.interrupt()
    play.settle(1)
    assert play.state.history.texts() == [user("prompt"), user("word"), MARKER]


def test_a_context_that_cannot_be_loaded_fails_the_turn_with_its_error() -> None:
    play = Play.started()
    play.say("prompt")
    effect = next(iter(play.state.outstanding))
    stopping, kept, ended = play.send(EffectClosed(effect, "failed", "no such file", "bad_file"))
    assert stopping == TurnStopping("failed", ErrorInfo("bad_file", "no such file"))
    assert kept == recorded("prompt")
    assert isinstance(ended, TurnEnded)


def test_an_interrupt_without_a_turn_is_harmless() -> None:
    assert Play.started().interrupt() == []


def test_an_interrupt_is_obeyed_once() -> None:
    play = Play.started()
    play.ask("hi")
    assert [play.interrupt(), play.interrupt()] == [[TurnStopping("interrupted")], []]


def environment(text: str) -> ContextFragment:
    return ContextFragment("environment", "user", text)


def test_surroundings_are_told_first_and_again_only_when_they_have_changed() -> None:
    play = Play.started()
    rules = ContextFragment("permissions", "developer", "be careful")
    told: list[list[str]] = []
    for place in ("/a", "/a", "/b", "/a"):
        play.say("hi")
        news = play.load([rules, environment(place)])[0]
        assert isinstance(news, ItemsRecorded)
        told.append([item.kind for item in news.items])
        play.complete()
    assert told == [
        ["permissions", "environment", "user"],
        ["user"],
        ["environment", "user"],
        ["environment", "user"],
    ]


def test_a_fork_is_told_only_what_is_new_to_its_conversation() -> None:
    play = Play.started()
    play.say("hi")
    play.load([environment("/a")])
    play.complete()
    play.fork()
    play.open()
    play.say("hi again")
    assert play.load([environment("/a")])[0] == recorded("hi again")


def test_settings_change_from_the_next_turn_on() -> None:
    play = Play.started()
    play.ask("hi")
    play.op(UserTurn((TextInput("word"),), SettingsUpdate(model="gpt-2")))
    assert isinstance(play.state.turn, Turn)
    assert play.state.turn.settings.session == SETTINGS
    play.complete()
    play.complete()
    play.op(OverrideTurnContext(SettingsUpdate(cwd="/b")))
    play.ask("next")
    assert play.state.turn.settings.session.model == "gpt-2"
    assert play.state.turn.settings.session.cwd == "/b"


def test_ops_that_cannot_be_done_are_refused_with_a_code() -> None:
    play = Play.started()
    codes = [
        refused.code
        for op in (UserInput(()), ListMcpTools())
        for refused in play.op(op)
        if isinstance(refused, OpRefused)
    ]
    assert codes == ["empty_input", "not_supported"]


def test_shutdown_stops_the_turn_and_takes_no_more_input() -> None:
    play = Play.started()
    play.ask("hi")
    assert play.op(Shutdown()) == [TurnStopping("interrupted")]
    (refused,) = play.say("more")
    assert isinstance(refused, OpRefused)
    assert refused.code == "closing"
    decided = play.close(next(iter(play.state.outstanding.values())))
    assert isinstance(decided[-2], TurnEnded)
    assert decided[-1] == SessionClosed()
    assert play.op(Interrupt()) == []
    assert play.op(Shutdown()) == []


def test_a_session_s_row_tells_its_title_and_whether_it_runs() -> None:
    play = Play.started()
    play.ask("  fix \n the tests " + "x" * 200)
    summary = play.state.summary
    assert summary is not None
    assert (summary.title[:15], len(summary.title)) == ("fix the tests x", 120)
    assert (summary.status, summary.turns) == ("running", 1)
    play.complete()
    assert play.state.summary is not None
    assert play.state.summary.status == "idle"


def test_op_ids_are_remembered_up_to_a_limit() -> None:
    play = Play.started()
    for number in range(REMEMBERED_OPS + 1):
        play.op(Interrupt(), f"id-{number}")
    assert len(play.state.op_ids) == REMEMBERED_OPS
    assert "id-0" not in play.state.op_ids
