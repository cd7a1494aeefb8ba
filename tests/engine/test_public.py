"""The public interface: what it offers, what it costs, and what it says where it is misused."""

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock

import turnlog
from tests.engine.kit import unchecked
from tests.errors import raises_code
from turnlog.actors.ports import ModelClient
from turnlog.actors.tasks.orders import QuestionOrder
from turnlog.actors.tasks.question import PATIENCE_S, QuestionTask
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.runtime.assembly import open_assembly
from turnlog.testing import scripted

DATA: Final = Path(__file__).parent.parent / "data" / "public"

IN_ASYNCIO: Final = """
import asyncio, turnlog

async def main():
    async with turnlog.open_engine(home="home"):
        pass

try:
    asyncio.run(main())
except turnlog.TurnlogError as error:
    print(error.code, error)
"""
IN_A_THREAD: Final = """
import asyncio, trio, turnlog

async def agent():
    async with turnlog.open_engine(home="home", ephemeral=True) as engine:
        return (await engine.start()).head

async def guest():
    done = asyncio.get_running_loop().create_future()
    trio.lowlevel.start_guest_run(
        agent,
        run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
        done_callback=lambda outcome: done.set_result(outcome.unwrap()),
    )
    return await done

async def main():
    print(await asyncio.to_thread(trio.run, agent), await guest())

asyncio.run(main())
"""


def python(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_each_public_name_is_there_and_there_are_few() -> None:
    assert sorted(turnlog.__all__) == turnlog.__all__
    assert len(turnlog.__all__) <= 25
    for name in turnlog.__all__:
        assert getattr(turnlog, name) is not None
        assert name in dir(turnlog)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = unchecked(turnlog).nothing


def test_an_engine_shows_what_users_call_and_nothing_else() -> None:
    shown = {name for name in dir(turnlog.Engine) if not name.startswith("_")}
    assert shown == {"fork", "resume", "sessions", "start"}


@pytest.mark.parametrize("module", ["turnlog", "turnlog.events", "turnlog.ops", "turnlog.testing"])
def test_the_public_names_are_those_that_are_stored(module: str) -> None:
    """A name that comes or goes is a change for users: it is made in the stored list, too."""
    stored = (DATA / f"{module}.txt").read_text().split()
    offered = import_module(module)
    assert sorted(offered.__all__) == stored
    for name in stored:
        assert getattr(offered, name) is not None


def test_a_scripted_model_needs_no_configuration_and_a_name_is_one(tmp_path: Path) -> None:
    async def said(model: str | ModelClient) -> str:
        async with turnlog.open_engine(home=tmp_path, ephemeral=True, model=model) as engine:
            session = await engine.start(cwd=tmp_path)
            if isinstance(model, str):
                return session.settings.model
            events = [recorded.event async for recorded in session.run("Speak.")]
            return str(unchecked(events[-1]).last_agent_message)

    assert trio.run(said, scripted("Spoken.")) == "Spoken."
    assert trio.run(said, "another-model") == "another-model"


def test_importing_turnlog_imports_nothing_else(tmp_path: Path) -> None:
    program = "import sys, turnlog; print({'msgspec', 'attrs', 'trio', 'lmdb'} & set(sys.modules))"
    assert python(program, tmp_path) == "set()\n"


def test_under_asyncio_an_error_says_what_to_do(tmp_path: Path) -> None:
    said = python(IN_ASYNCIO, tmp_path)
    assert said.startswith("not_on_trio turnlog runs on trio, and this was not called from a ")
    for advice in ("trio.run(main)", "asyncio.to_thread(trio.run, main)", "start_guest_run"):
        assert advice in said
    assert not (tmp_path / "home").exists()


def test_what_that_error_says_works(tmp_path: Path) -> None:
    assert python(IN_A_THREAD, tmp_path) == "2 2\n"


def test_without_any_loop_the_error_is_the_same(tmp_path: Path) -> None:
    entering = turnlog.open_engine(home=tmp_path).__aenter__()
    with raises_code(ErrorCode.NOT_ON_TRIO):
        unchecked(entering).send(None)


Opening = Callable[[Path], Any]
OPENINGS: Final[list[tuple[Opening, str]]] = [
    (lambda home: turnlog.open_engine(home=unchecked(5)), "home: int is not allowed; use text"),
    (
        lambda home: turnlog.open_engine(home=unchecked(b"x")),
        "home: a value of type bytes ",
    ),
    (lambda home: turnlog.open_engine(home="a\0b"), "home: 'a\\x00b' is not allowed; a path has "),
    (
        lambda home: turnlog.open_engine(home=home, config=unchecked({"model": "m"})),
        "config: dict is not allowed; use Config",
    ),
    (
        lambda home: turnlog.open_engine(home=home, config=turnlog.Config(model=unchecked(5))),
        "config.model: int is not allowed; use text",
    ),
    (
        lambda home: turnlog.open_engine(
            home=home, config=turnlog.Config(approval_policy=unchecked("on_request"))
        ),
        "config.approval_policy: 'on_request' is not allowed; use one of untrusted, on-request, ",
    ),
    (
        lambda home: turnlog.open_engine(
            home=home, config=turnlog.Config(model_providers=unchecked({"m": 5}))
        ),
        "config.model_providers[...]: int is not allowed; use ProviderConfig",
    ),
    (
        lambda home: turnlog.open_engine(home=home, model=unchecked(5)),
        "model: int is not allowed; use a model's name, or a model such as turnlog.testing.",
    ),
    (lambda home: turnlog.open_engine(home=home, model=" "), "model: ' ' is not allowed; use a "),
    (
        lambda home: turnlog.open_engine(home=home, ephemeral=unchecked("yes")),
        "ephemeral: str is not allowed; use True or False",
    ),
    (
        lambda home: turnlog.open_engine(home=home, originator="two\nlines"),
        "originator: 'two\\nlines' is not allowed; use printable ASCII",
    ),
    (
        lambda home: turnlog.open_engine(home=home, warn=unchecked("loudly")),
        "warn: str is not allowed; use a plain function",
    ),
    (
        lambda home: turnlog.open_engine(home=home, warn=unchecked(trio.sleep)),
        "warn: `async def` is not allowed; use a plain function",
    ),
]


@pytest.mark.parametrize(("opening", "why"), OPENINGS, ids=[why[:40] for _, why in OPENINGS])
async def test_an_engine_is_opened_with_what_is_allowed(
    tmp_path: Path, opening: Opening, why: str
) -> None:
    with raises_code(ErrorCode.ARGUMENT_INVALID, match=f"^{re.escape(why)}"):
        async with opening(tmp_path / "home"):
            pass
    assert not (tmp_path / "home").exists()


def test_a_replay_says_which_argument_is_wrong(tmp_path: Path) -> None:
    with raises_code(ErrorCode.ARGUMENT_INVALID, match="prefix: int is not allowed; use text"):
        turnlog.replay_session(unchecked(5), home=tmp_path)


# --- questions and warnings ----------------------------------------------------------------------


async def test_nothing_is_asked_by_default(tmp_path: Path) -> None:
    config = turnlog.Config(model_provider="none")
    async with turnlog.open_engine(home=tmp_path, config=config, ephemeral=True) as engine:
        session = await engine.start(cwd=tmp_path)
        assert session.settings.approval_policy == "never"


@pytest.mark.parametrize("timeout_ms", [None, 60_000])
async def test_a_question_that_waits_for_ever_is_told_with_how_to_answer_it(
    timeout_ms: int | None, autojump_clock: MockClock
) -> None:
    told: list[tuple[float, str]] = []

    def remind(text: str) -> None:
        told.append((trio.current_time(), text))

    order = QuestionOrder(timeout_ms, SessionId("the-id"), "q-1", "a_tool")
    began = trio.current_time()
    with trio.move_on_after(3600):
        await QuestionTask(EffectId("3.question.0"), order, remind).run()
    if timeout_ms is not None:
        assert not told
        return
    ((at, text),) = told
    assert at == began + PATIENCE_S
    assert text.startswith("question q-1 of session the-id waits for an answer: may a_tool do ")
    assert "`await session.answer('q-1', 'approved')`" in text
    assert "`turnlog approve q-1`" in text


async def test_who_shows_questions_is_not_reminded_of_them(tmp_path: Path) -> None:
    for shows in (False, True):
        async with open_assembly(home=tmp_path, ephemeral=True, shows_questions=shows) as assembly:
            assert (assembly.sessions.ports.remind is None) == shows


async def test_where_nobody_is_named_the_logger_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from turnlog.runtime.engine.warn import log_warning, safely

    def broken(_: str) -> None:
        raise ValueError("no")

    with caplog.at_level(logging.WARNING, "turnlog"):
        log_warning("red \x1b[31m and\na line")
        safely(broken)("said")
    assert [record.getMessage() for record in caplog.records] == [
        "red \N{REPLACEMENT CHARACTER}[31m and\na line",
        "the `warn` of an engine failed",
        "said",
    ]
