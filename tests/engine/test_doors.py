"""Whatever is passed to an engine or a session works, or is refused before anything is stored."""

import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.kit import House, house, kinds, of, play, shell, the, unchecked, until
from tests.errors import raises_code
from tests.replayed import replay
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import TurnlogError, UsageError
from turnlog.protocol.events import OpReceived, SessionStarted, ToolStarted, TurnEnded
from turnlog.protocol.ops import (
    Archive,
    Compact,
    ExecApproval,
    ImageInput,
    Interrupt,
    LocalImageInput,
    OverrideTurnContext,
    RunUserShellCommand,
    SetName,
    TextInput,
    Undo,
    UserInput,
    UserTurn,
    prompt,
)
from turnlog.protocol.settings import AgentLimits, SandboxPolicy, SettingsUpdate
from turnlog.protocol.usage import MOST_TOKENS, TokenUsage
from turnlog.replay.testing.harness import ScriptedModel, open_test_engine
from turnlog.runtime.engine.engine import Engine
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Response, message
from turnlog.runtime.store.lmdb.log import open_log

HI: Final = (TextInput("hi"),)
A_UNION: Final = "one of Interrupt, OverrideTurnContext, UserInput, UserTurn, "


class Name(str):
    __slots__ = ()


class Answer(StrEnum):
    YES = "approved"


def changed(**fields: object) -> SettingsUpdate:
    return SettingsUpdate(**unchecked(fields))


async def listed(_: Engine, session: Session, events: Any) -> list[Recorded]:  # noqa: ANN401
    return [event async for event in events]


Door = Callable[[Engine, Session, Any], Awaitable[object]]


def setting(field: str) -> Door:
    return lambda _, session, value: session.submit(OverrideTurnContext(changed(**{field: value})))


DOORS: Final[dict[str, Door]] = {
    "start cwd": lambda engine, _, value: engine.start(cwd=value),
    "start model": lambda engine, _, value: engine.start(model=value),
    "start update": lambda engine, _, value: engine.start(update=value),
    "start originator": lambda engine, _, value: engine.start(originator=value),
    "start on_recovery": lambda engine, _, value: engine.start(on_recovery=value),
    "resume prefix": lambda engine, _, value: engine.resume(value),
    "resume on_recovery": lambda e, session, value: e.resume(session.id, on_recovery=value),
    "fork prefix": lambda engine, _, value: engine.fork(value),
    "fork at": lambda _, session, value: session.fork(at=value),
    "sessions limit": lambda engine, _, value: engine.sessions(limit=value),
    "submit op": lambda _, session, value: session.submit(value),
    "submit op_id": lambda _, session, value: session.submit(Interrupt(), op_id=value),
    "run prompt": lambda e, session, value: listed(e, session, session.run(value)),
    "run update": lambda e, session, value: listed(e, session, session.run("hi", update=value)),
    "watch_op op": lambda e, session, value: listed(e, session, session.watch_op(value)),
    "answer question": lambda _, session, value: session.answer(value, "approved"),
    "answer decision": lambda _, session, value: session.answer("q", value),
    "items": lambda _, session, value: session.submit(UserInput(value)),
    "schema": lambda _, session, value: session.submit(UserTurn(HI, SettingsUpdate(), value)),
    "name": lambda _, session, value: session.submit(SetName(value)),
    "turns": lambda _, session, value: session.submit(Undo(value)),
    "archived": lambda _, session, value: session.submit(Archive(value)),
    "image": lambda _, session, value: session.submit(UserInput((ImageInput(value),))),
    "file": lambda _, session, value: session.submit(UserInput((LocalImageInput(value),))),
    "update": lambda _, session, value: session.submit(OverrideTurnContext(value)),
    **{f"settings {field}": setting(field) for field in SettingsUpdate.__struct_fields__},
}

REFUSED: Final[list[tuple[str, object, str]]] = [
    (
        "start update",
        changed(approval_policy="on_request"),
        "update.approval_policy: 'on_request' is not allowed; use one of untrusted, on-request, "
        "on-failure, never",
    ),
    ("start update", SetName("x"), "update: SetName is not allowed; use SettingsUpdate"),
    ("start update", changed(model=None), "update.model: None is not allowed; use text"),
    (
        "start update",
        changed(sandbox=SandboxPolicy("workspace-write", ("here",))),
        "update.sandbox.writable_roots[0]: 'here' is not allowed; use an absolute path",
    ),
    (
        "start update",
        changed(agents=AgentLimits(-1)),
        "update.agents.most_running: -1 is not allowed; use 0 or more",
    ),
    ("start model", 5, "model: int is not allowed; use one of text, None"),
    (
        "start model",
        "\udcff",
        "model: '\\udcff' is not Unicode text: character 0 is half of a pair (U+D800 to U+DFFF). "
        "Decode bytes with errors='replace'",
    ),
    ("start originator", 5, "originator: int is not allowed; use text"),
    (
        "start on_recovery",
        "x",
        "on_recovery: 'x' is not allowed; use one of continue, interrupt, leave",
    ),
    ("start cwd", None, "cwd: None is not allowed; use text"),
    ("start cwd", "a\0b", "cwd: 'a\\x00b' is not allowed; a path has no NUL character"),
    ("resume prefix", 5, "prefix: int is not allowed; use text"),
    ("fork at", "3", "at: str is not allowed; use a whole number"),
    ("fork at", True, "at: bool is not allowed; use a whole number"),
    ("fork at", 2**80, f"there is no event {2**80}; this session has events 1 to 2."),
    ("sessions limit", "x", "limit: str is not allowed; use a whole number"),
    ("run prompt", 5, f"prompt: int is not allowed; use {A_UNION}"),
    (
        "run prompt",
        UserTurn(unchecked(["text"])),
        "prompt.items[0]: str is not allowed; use one of TextInput, ImageInput, LocalImageInput",
    ),
    (
        "run prompt",
        SetName("x"),
        "op: SetName is not allowed, since no turn comes of it; use `submit` for it",
    ),
    ("submit op", TextInput("x"), f"op: a Struct of another type is not allowed; use {A_UNION}"),
    ("submit op_id", b"x", "op_id: a value of type bytes cannot be stored; give text, a number, "),
    (
        "answer decision",
        "approve",
        "decision: 'approve' is not allowed; use one of approved, approved_for_session, denied, "
        "abort",
    ),
    ("schema", {"a": float("nan")}, "op.final_output_json_schema['a']: nan is not a number that "),
    ("schema", {"a": 2**64}, "op.final_output_json_schema['a']: a number of more than 64 bits "),
    ("schema", {"a": ["\ud800"]}, "op.final_output_json_schema['a'][0]: '\\ud800' is not Unicode"),
    ("schema", {1: 2}, "op.final_output_json_schema: the key a value of type int is not a text"),
    ("turns", 2**70, "op.turns: a number of more than 64 bits cannot be stored"),
    (
        "settings sandbox",
        {"mode": "read-only", "roots": []},
        "op.update.sandbox.roots: SandboxPolicy has no such field",
    ),
]


@pytest.mark.parametrize(
    ("door", "value", "why"), REFUSED, ids=[f"{door} {value!r}"[:60] for door, value, _ in REFUSED]
)
async def test_what_is_not_allowed_is_refused_in_words_and_stores_nothing(
    tmp_path: Path, door: str, value: object, why: str
) -> None:
    async with house(tmp_path, "fine") as h:
        session = await h.start()
        before = await h.events(session)
        with pytest.raises(TurnlogError) as refused:
            await DOORS[door](h.engine, session, value)
        assert str(refused.value).startswith(why)
        assert isinstance(refused.value, UsageError) or door == "fork at"
        assert await h.events(session) == before
        assert [summary.session for summary in await h.log.sessions()] == [session.id]
        assert the(TurnEnded, await play(session)).status == "completed"


TAKEN: Final[list[tuple[str, object]]] = [
    ("start model", Name("a model")),
    ("start cwd", Path()),
    ("submit op", unchecked(UserInput(unchecked([TextInput("a list")])))),
    ("submit op", {"type": "set_name", "name": "by its wire form"}),
    ("settings sandbox", {"mode": "workspace-write"}),
    ("sessions limit", 2**80),
    ("schema", {"type": "object", "properties": {}}),
]


@pytest.mark.parametrize(("door", "value"), TAKEN)
async def test_what_means_the_same_is_taken(tmp_path: Path, door: str, value: object) -> None:
    async with house(tmp_path, "fine", loop=True) as h:
        await DOORS[door](h.engine, await h.start(), value)


async def test_an_answer_may_be_a_member_of_an_enumeration(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        session = await h.start()
        with pytest.raises(TurnlogError, match="question"):
            await session.answer("q", unchecked(Answer.YES))
        (answered,) = of(OpReceived, await h.events(session))
        assert answered.op == ExecApproval("q", "approved")


async def test_a_relative_folder_begins_in_the_folder_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    async with house(tmp_path, "one", "two") as h:
        monkeypatch.chdir(tmp_path / "a")
        started = [
            await h.engine.start(cwd="b"),
            await h.engine.start(cwd="/", update=SettingsUpdate(cwd="b")),
        ]
        moved = await h.engine.start(cwd="/")
        await moved.submit(OverrideTurnContext(SettingsUpdate(cwd="b")))
        monkeypatch.chdir(tmp_path)
        here = str(tmp_path / "a" / "b")
        for session in started:
            assert the(SessionStarted, await h.events(session)).settings.cwd == here
        assert f"<cwd>{here}</cwd>" in str(await told_of_folder(h, moved))
        with raises_code(ErrorCode.INPUT_UNREADABLE, match="nowhere is not a folder"):
            await moved.submit(OverrideTurnContext(SettingsUpdate(cwd="nowhere")))


async def told_of_folder(h: House, session: Session) -> object:
    await play(session)
    return h.server.requests[-1].body["input"]


async def test_a_prompt_with_settings_of_its_own_takes_no_others(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        session = await h.start()
        with raises_code(ErrorCode.ARGUMENT_INVALID, match="update: it belongs to a text"):
            await listed(h.engine, session, session.run(prompt("x"), update=SettingsUpdate()))


async def test_a_compaction_that_a_running_turn_makes_is_watched_to_its_end(
    tmp_path: Path,
) -> None:
    os.mkfifo(gate := tmp_path / "gate")
    async with house(tmp_path, shell(f"cat {gate}"), "a summary", "done") as h:
        session = await h.start()
        await session.submit(prompt("go"))
        await until(session, ToolStarted, after=0)
        seen: list[Recorded] = []
        async for recorded in session.run(Compact()):
            seen.append(recorded)
            if recorded.kind == "compaction_wanted":
                await trio.to_thread.run_sync(gate.write_bytes, b"on")
        assert kinds(seen)[-1] == "turn_ended"


async def test_a_count_of_tokens_that_nobody_can_have_used_ends_no_session(tmp_path: Path) -> None:
    most = TokenUsage(2**64 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1)
    least = TokenUsage(-(2**63), -(2**63), -(2**63), -(2**63), -(2**63))
    usages = [most, most, least, least, most]
    model = ScriptedModel(*[Response(items=[message("fine")], usage=usage) for usage in usages])
    async with open_log(tmp_path) as log:
        for usage in usages:
            async with open_test_engine(model, log=log) as engine:
                known = await log.sessions()
                session = await (engine.resume(known[0].session) if known else engine.start())
                end = the(TurnEnded, await play(session))
                assert (end.status, end.last_agent_message) == ("completed", "fine"), usage
                assert 0 <= session.usage.total_tokens <= MOST_TOKENS
                replay(await log.read(session.id))


# --- the law -----------------------------------------------------------------------------------


def turn_of(items: object) -> UserTurn:
    return UserTurn(unchecked(items))


def command_of(text: object) -> RunUserShellCommand:
    return RunUserShellCommand(unchecked(text))


def change_of(field: str, value: object) -> SettingsUpdate:
    return changed(**{field: value})


def policy_of(mode: object, roots: object) -> SandboxPolicy:
    return SandboxPolicy(unchecked(mode), unchecked(roots))


TEXTS: Final = st.one_of(
    st.text(),
    st.text(st.characters(codec=None), max_size=4),
    st.sampled_from(["approved", "never", "read-only", "continue", "", ".", "/", "\udcff", "0"]),
)
PLAIN: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, -1, 0, 1]),
    st.floats(),
    TEXTS,
    st.binary(max_size=4),
    st.builds(Name, TEXTS),
    st.builds(object),
    st.just(Path("/")),
    st.just(len),
)
VALUES: Final = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.sets(st.integers(), max_size=2),
        st.dictionaries(st.one_of(TEXTS, st.integers()), inner, max_size=3),
        st.builds(unchecked(TextInput), inner),
        st.builds(unchecked(SetName), inner),
        st.builds(unchecked(ExecApproval), inner, inner),
        st.builds(unchecked(OverrideTurnContext), inner),
        st.builds(turn_of, inner),
        st.builds(command_of, st.integers() | st.just("true")),
        st.builds(change_of, st.sampled_from(SettingsUpdate.__struct_fields__), inner),
        st.builds(policy_of, inner, inner),
    ),
    max_leaves=5,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.tuples(st.sampled_from(sorted(DOORS)), VALUES), min_size=1, max_size=12))
def test_any_value_works_or_is_refused_and_every_session_opens(
    passed: list[tuple[str, object]],
) -> None:
    async def pass_all(folder: Path) -> None:
        model = ScriptedModel(*["fine"] * 40)
        async with open_log(folder) as log, open_test_engine(model, log=log) as engine:
            session = await engine.start()
            for door, value in passed:
                try:
                    with trio.fail_after(60):
                        await DOORS[door](engine, session, value)
                except TurnlogError:
                    pass
            assert session.failure is None
        async with open_log(folder) as log, open_test_engine(model, log=log) as engine:
            for summary in await log.sessions(limit=1000):
                assert summary.created_us
                again = await engine.resume(summary.session)
                assert again.failure is None
                await again.close()
                replay(await log.read(summary.session, limit=100_000))

    with TemporaryDirectory() as folder:
        trio.run(pass_all, Path(folder))
