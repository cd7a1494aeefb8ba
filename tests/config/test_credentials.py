"""Where the key of a provider comes from, and that nobody sees it."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.runtime.config import ProviderConfig
from turnlog.runtime.config.credentials import Credential

URL = "http://127.0.0.1:1/v1"
ADVICE = (
    " or name another source in [model_providers.p]: "
    'env_key = "NAME", key_command = ["pass", "show", "NAME"] or keyring = "SERVICE/USER".'
)


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def credential(provider: ProviderConfig, **environ: str) -> Credential:
    return Credential("p", provider, {"PATH": os.environ["PATH"], **environ})


async def complaint(found: Credential) -> str:
    with raises_code(ErrorCode.CREDENTIAL_MISSING) as caught:
        await found.key()
    return str(caught.value)


async def test_a_provider_without_a_source_needs_no_key() -> None:
    assert await credential(ProviderConfig(URL)).key() is None


async def test_the_environment_is_asked_first(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    provider = ProviderConfig(URL, env_key="K", key_command=("touch", str(trace)))
    assert await credential(provider, K=" sk-1\n").key() == "sk-1"
    assert not trace.exists()


async def test_a_command_is_asked_where_the_variable_is_not_set() -> None:
    provider = ProviderConfig(URL, env_key="K", key_command=shell("echo sk-2"))
    assert await credential(provider, K="").key() == "sk-2"


async def test_a_command_runs_once_however_many_ask(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = credential(ProviderConfig(URL, key_command=shell(f"echo x >> {log}; echo sk-3")))
    keys: list[str | None] = []

    async def ask() -> None:
        keys.append(await found.key())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert keys == ["sk-3"] * 5
    assert log.read_text() == "x\n"


async def test_what_was_missing_can_be_set_later(tmp_path: Path) -> None:
    found = credential(ProviderConfig(URL, key_command=("cat", str(tmp_path / "key"))))
    assert "failed with exit code 1" in await complaint(found)
    (tmp_path / "key").write_text("sk-4")
    assert await found.key() == "sk-4"


async def test_a_missing_variable_is_named() -> None:
    assert await complaint(credential(ProviderConfig(URL, env_key="MY_KEY"))) == (
        "the model provider 'p' needs a key, and none was found: the environment variable MY_KEY "
        "is not set. Set MY_KEY," + ADVICE
    )


async def test_each_source_says_why_it_has_no_key() -> None:
    provider = ProviderConfig(URL, env_key="K", key_command=("/no/such/program",))
    assert await complaint(credential(provider)) == (
        "the model provider 'p' needs a key, and none was found: the environment variable K is "
        "not set; the command '/no/such/program' cannot be run: No such file or directory. "
        "Set K," + ADVICE
    )


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 7", "failed with exit code 7"),
        ("kill -9 $$", "failed with exit code -9"),
        ("true", "gave nothing"),
        ("printf 'hush\\nhush'", "gave something that is no key: one line of ASCII is expected"),
        ("printf 'hush\\377'", "gave something that is no key: one line of ASCII is expected"),
        ("yes hush", "printed more than 65536 bytes"),
    ],
)
async def test_a_command_that_gives_no_key(script: str, why: str) -> None:
    text = await complaint(credential(ProviderConfig(URL, key_command=shell(script))))
    assert f"the command '/bin/sh' {why}. Fix that," in text
    assert "hush" not in text


async def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    # The child holds the pipe open: its end is seen there.
    script = f"(exec 3>{alive}; echo up >&3; exec sleep 1000) & wait"
    found = credential(ProviderConfig(URL, key_command=shell(script)))
    complaints: list[str] = []

    async def ask() -> None:
        complaints.append(await complaint(found))

    async def let_time_pass() -> None:
        """Again and again: the command may be up before its time has begun to run."""
        while True:
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(11)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        async with await trio.open_file(alive, "rb") as pipe, trio.open_nursery() as passing:
            assert await pipe.readline() == b"up\n"
            passing.start_soon(let_time_pass)
            assert await pipe.read() == b""
            passing.cancel_scope.cancel()
    [text] = complaints
    assert "the command '/bin/sh' had not ended after 10000 ms." in text


def test_no_repr_shows_a_key() -> None:
    async def main() -> str:
        found = credential(ProviderConfig(URL, env_key="K"), K="hush")
        assert await found.key() == "hush"
        return repr(found)

    assert "hush" not in trio.run(main)


# --- the keyring ------------------------------------------------------------------------------

Keyring = Callable[[str], None]


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    """Install a `keyring` package with this body of `get_password`."""

    def install(body: str) -> None:
        (tmp_path / "keyring.py").write_text(f"def get_password(service, user):\n    {body}\n")

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield install
    sys.modules.pop("keyring", None)


def kept() -> Credential:
    return credential(ProviderConfig(URL, keyring="turnlog/me"))


async def test_the_keyring_is_asked_for_a_user_at_a_service(keyring: Keyring) -> None:
    keyring('return f"sk-{service}-{user}"')
    assert await kept().key() == "sk-turnlog-me"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return None", "the keyring has no password for 'me' at 'turnlog'"),
        ("raise RuntimeError('hush')", "the keyring does not answer (RuntimeError)"),
    ],
)
async def test_a_keyring_that_gives_no_key(keyring: Keyring, body: str, why: str) -> None:
    keyring(body)
    text = await complaint(kept())
    assert why in text
    assert "hush" not in text


async def test_a_keyring_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install 'turnlog[keyring]'" in await complaint(kept())
