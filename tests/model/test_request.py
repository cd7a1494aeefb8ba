"""What the Responses client sends, and to whom: bodies, headers, keys, addresses."""

from collections.abc import Mapping

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.errors import raises_code
from turnlog import __version__
from turnlog.actors.ports import ModelCallFailed, ModelRequest, ModelSignal
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import RetryLimits, SessionSettings, TurnSettings
from turnlog.runtime.model.provider import OPENAI, CredentialSource, Provider
from turnlog.runtime.model.responses import ResponsesClient, encode_body
from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.server import ReceivedRequest, serve_script

SESSION = SessionId("01a1fd7a-aac4-7a23-b5f1-da4134713c9d")
SETTINGS = TurnSettings(SessionSettings(cwd="/", model="gpt-5.5", model_provider="local"))
REQUEST = ModelRequest(SESSION, "turn-1", SETTINGS, "[]", [text_message("user", "hi")])
LOCAL = Provider("local", "http://127.0.0.1:9/v1")


async def ignore(signal: ModelSignal) -> None:
    await trio.lowlevel.checkpoint()


async def received(
    request: ModelRequest = REQUEST,
    provider: Provider = LOCAL,
    environ: Mapping[str, str] | None = None,
) -> ReceivedRequest:
    """Return what a server is sent for `request`."""
    async with serve_script(Script.of("hello")) as server:
        provider = attrs.evolve(provider, base_url=server.base_url)
        await ResponsesClient({"local": provider}, "test", environ or {}).call(request, ignore)
        return server.requests[0]


async def refused(provider: Provider, environ: Mapping[str, str] | None = None) -> ModelFailure:
    """Return why nothing was sent to `provider`."""
    async with serve_script(Script.of("hello")) as server:
        provider = attrs.evolve(provider, base_url=server.base_url)
        client = ResponsesClient({provider.name: provider}, environ=environ or {})
        with pytest.raises(ModelCallFailed) as caught:
            await client.call(REQUEST, ignore)
        assert server.requests == []
    return caught.value.failure


async def test_a_request_says_what_the_settings_choose() -> None:
    chosen = structs.replace(
        SETTINGS.session, reasoning_effort="high", reasoning_summary="auto", verbosity="low"
    )
    tools = [{"type": "function", "name": "exec_command"}]
    schema: dict[str, object] = {"type": "object"}
    request = ModelRequest(
        SESSION,
        "turn-1",
        structs.replace(SETTINGS, session=chosen, parallel_tool_calls=False),
        msgspec.json.encode(tools).decode(),
        [text_message("user", "hi"), '{"type":"reasoning","encrypted_content":"x"}'],
        schema,
    )
    sent = await received(request)
    assert (sent.method, sent.path) == ("POST", "/v1/responses")
    assert sent.body == {
        "model": "gpt-5.5",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
            },
            {"type": "reasoning", "encrypted_content": "x"},
        ],
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "high", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "text": {
            "verbosity": "low",
            "format": {
                "type": "json_schema",
                "strict": True,
                "name": "codex_output_schema",
                "schema": schema,
            },
        },
        "client_metadata": {"session_id": SESSION, "thread_id": SESSION, "turn_id": "turn-1"},
    }
    assert {name: value for name, value in sent.headers.items() if name != "content-length"} == {
        "host": sent.headers["host"],
        "connection": "keep-alive",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "originator": "test",
        "session-id": SESSION,
        "thread-id": SESSION,
        "user-agent": f"turnlog/{__version__}",
    }


async def test_what_is_not_chosen_is_not_sent() -> None:
    silent = structs.replace(SETTINGS.session, reasoning_summary="none")
    request = ModelRequest(SESSION, "t", structs.replace(SETTINGS, session=silent), "[]", [])
    assert not {"reasoning", "text"} & set((await received(request)).body)


@given(st.lists(st.integers().map(lambda number: f'{{ "é\u2028" :{number}.50}}'), min_size=1))
def test_a_request_is_a_byte_prefix_of_the_next(parts: list[str]) -> None:
    def body(count: int) -> bytes:
        return encode_body(ModelRequest(SESSION, "t", SETTINGS, "[ ]", parts[:count]))

    shorter, _, rest = body(len(parts) - 1).partition(b'],"tools":[ ]')
    assert rest
    assert body(len(parts)).startswith(shorter)
    assert ",".join(parts).encode() in body(len(parts))


async def test_a_provider_gets_its_key_headers_and_parameters() -> None:
    provider = attrs.evolve(
        LOCAL,
        env_key="KEY",
        http_headers={"Originator": "mine", "X-Fixed": "1"},
        env_http_headers={"X-Team": "TEAM", "X-Unset": "UNSET"},
        query_params={"api-version": "2026 11"},
    )
    sent = await received(provider=provider, environ={"KEY": " secret\n", "TEAM": "blue"})
    assert sent.path == "/v1/responses?api-version=2026+11"
    ours = ("authorization", "originator", "x-fixed", "x-team", "x-unset")
    assert {name: sent.headers.get(name) for name in ours} == {
        "authorization": "Bearer secret",
        "originator": "mine",
        "x-fixed": "1",
        "x-team": "blue",
        "x-unset": None,
    }


def source(key: str | Exception | None) -> CredentialSource:
    async def give() -> str | None:
        await trio.lowlevel.checkpoint()
        if isinstance(key, Exception):
            raise key
        return key

    return give


async def test_a_credential_source_is_asked_when_the_variable_is_unset() -> None:
    provider = attrs.evolve(LOCAL, env_key="KEY", credential=source("from the keyring"))
    sent = await received(provider=provider)
    assert sent.headers["authorization"] == "Bearer from the keyring"


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (
            attrs.evolve(LOCAL, env_key="MY_KEY"),
            "model provider 'local' needs a key: set the environment variable MY_KEY, or name "
            "another one as `env_key` in [model_providers.local].",
        ),
        (
            attrs.evolve(LOCAL, credential=source(None)),
            "model provider 'local' needs a key: the credential source of "
            "[model_providers.local] gave none.",
        ),
        (
            attrs.evolve(
                LOCAL,
                credential=source(
                    Unavailable(ErrorCode.CREDENTIAL_MISSING, "the keyring is locked")
                ),
            ),
            "the keyring is locked",
        ),
    ],
)
async def test_a_missing_key_is_said_before_anything_is_sent(
    provider: Provider, message: str
) -> None:
    failure = await refused(provider, {"MY_KEY": " "})
    assert failure == ModelFailure("credential_missing", message)


async def test_a_header_that_cannot_be_sent_is_named_and_not_shown() -> None:
    failure = await refused(attrs.evolve(LOCAL, env_key="KEY"), {"KEY": "sécret"})
    assert failure == ModelFailure(
        "bad_request",
        "the header 'authorization' of model provider 'local' cannot be sent: names are ASCII "
        "without blanks, values are printable ASCII.",
    )


async def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    assert await refused(OPENAI) == ModelFailure(
        "bad_request",
        "there is no model provider 'local' (there is: openai). Choose one of these as "
        "`model_provider`, or add [model_providers.local] to the configuration.",
    )


@pytest.mark.parametrize("base_url", ["", "localhost:80/v1", "ftp://x/v1", "http://", "http://[x"])
def test_a_base_url_that_is_none_is_refused(base_url: str) -> None:
    with raises_code(ErrorCode.CONFIG_INVALID, match=r"model_providers\.local\.base_url is "):
        Provider("local", base_url)


def test_a_provider_shows_no_secret_and_caps_its_retries() -> None:
    provider = Provider(
        "local",
        "https://user:secret@host/v1/?key=secret",
        http_headers={"x": "secret"},
        query_params={"y": "secret"},
        request_max_retries=1000,
        stream_max_retries=2,
        stream_idle_timeout_ms=7,
    )
    assert provider.url == "https://user:secret@host/v1/responses?key=secret&y=secret"
    assert provider.shown_url == "https://host/v1/responses"
    assert provider.retry_limits() == RetryLimits(100, 2, 7)
    assert "secret" not in repr(provider)
