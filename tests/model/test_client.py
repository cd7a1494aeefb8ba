"""The Responses client against the scripted model server, over HTTP on loopback."""

import subprocess
import sys
from typing import Any

import attrs
import msgspec
import pytest
import trio
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    RawReasoningDelta,
    ReasoningBreak,
    ReasoningDelta,
    TextDelta,
)
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.ids import SessionId
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import RetryLimits, SessionSettings, TurnSettings
from turnlog.protocol.usage import RateLimits, RateLimitWindow
from turnlog.runtime.model import failures
from turnlog.runtime.model.provider import Provider
from turnlog.runtime.model.responses import ResponsesClient
from turnlog.runtime.scripted_model.script import (
    DEFAULT_USAGE,
    Failure,
    Response,
    Script,
    call,
    message,
    reasoning,
)
from turnlog.runtime.scripted_model.server import serve_script

SESSION = SessionId("01a1fd7a-aac4-7a23-b5f1-da4134713c9d")
SETTINGS = TurnSettings(SessionSettings(cwd="/", model="gpt-5.5", model_provider="local"))
REQUEST = ModelRequest(SESSION, "turn-1", SETTINGS, "[]", [text_message("user", "hi")])
HELLO = message("hello", item_id="msg_1")
HELLO_DONE = ItemDone(msgspec.json.encode(HELLO).decode())


LOCAL = Provider("local", "http://127.0.0.1:9/v1")


def client(base_url: str, provider: Provider = LOCAL) -> ResponsesClient:
    return ResponsesClient({"local": attrs.evolve(provider, base_url=base_url)}, environ={})


async def attempt(
    client: ResponsesClient, request: ModelRequest = REQUEST
) -> tuple[list[ModelSignal], ModelFailure | None]:
    signals: list[ModelSignal] = []

    async def emit(signal: ModelSignal) -> None:
        await trio.lowlevel.checkpoint()
        signals.append(signal)

    try:
        await client.call(request, emit)
    except ModelCallFailed as error:
        return signals, error.failure
    return signals, None


async def test_a_response_is_emitted_as_it_comes_and_ends_with_completed() -> None:
    thought = reasoning("one", "two", content="raw", encrypted_content="x", item_id="rs_1")
    called = call("exec_command", {"cmd": "ls"}, call_id="call_1", item_id="fc_1")
    limits = RateLimits(RateLimitWindow(12.5, 300, 1_795_254_395), RateLimitWindow(3))
    answer = Response(
        id="resp_1", items=[thought, HELLO, called], delta_chars=3, rate_limits=limits
    )
    async with serve_script(Script.of(answer)) as server:
        signals, failure = await attempt(client(server.base_url))
    assert failure is None
    assert signals == [
        LimitsReported(limits),
        ReasoningBreak(),
        ReasoningDelta("one"),
        ReasoningBreak(),
        ReasoningDelta("two"),
        RawReasoningDelta("raw"),
        ItemDone(msgspec.json.encode(thought).decode()),
        TextDelta("hel"),
        TextDelta("lo"),
        HELLO_DONE,
        ItemDone(msgspec.json.encode(called).decode()),
        Completed("resp_1", DEFAULT_USAGE),
    ]


@pytest.mark.parametrize("split", [1, 7, None])
async def test_the_signals_do_not_depend_on_the_chunks(split: int | None) -> None:
    odd = message("line\u2028feed \x85 é 😀", item_id="msg_1")
    async with serve_script(
        Script.of(Response(id="r", items=[odd], split=split, bom=True, usage=None))
    ) as server:
        assert await attempt(client(server.base_url)) == (
            [
                TextDelta("line\u2028feed \x85 é 😀"),
                ItemDone(msgspec.json.encode(odd).decode()),
                Completed("r", None),
            ],
            None,
        )


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (
            Response(status=400, body="no such model"),
            ModelFailure("bad_request", "no such model", http_status=400),
        ),
        (
            Response(status=401, body={"error": {"message": "bad key"}}),
            ModelFailure(
                "unauthorized",
                "unexpected status 401 Unauthorized: bad key, url: URL/responses",
                "stream",
                http_status=401,
            ),
        ),
        (
            Response(status=429, headers={"retry-after": "3"}),
            ModelFailure(
                "rate_limited",
                "exceeded retry limit, last status: 429 Too Many Requests",
                "stream",
                3000,
                429,
            ),
        ),
        (
            Response(status=429, body={"error": {"type": "usage_limit_reached"}}),
            ModelFailure(
                "usage_limit_reached",
                "You’ve hit your usage limit. Try again later.",  # noqa: RUF001
                http_status=429,
            ),
        ),
        (
            Response(status=429, body={"error": {"code": "insufficient_quota"}}),
            ModelFailure("quota_exceeded", failures.QUOTA, http_status=429),
        ),
        (
            Response(status=500),
            ModelFailure("server_error", failures.HIGH_DEMAND, "request", http_status=500),
        ),
        (
            Response(status=503, body="x" * 5000),
            ModelFailure(
                "server_error",
                f"unexpected status 503 Service Unavailable: {'x' * 997}…, url: URL/responses",
                "request",
                http_status=503,
            ),
        ),
        (
            Response(status=302, headers={"location": "http://elsewhere.invalid/"}, body=""),
            ModelFailure(
                "bad_request",
                "unexpected status 302 Found: no body, url: URL/responses",
                "stream",
                http_status=302,
            ),
        ),
        (
            Response(no_answer="cut"),
            ModelFailure(
                "connection_failed",
                "Connection failed: Server disconnected without sending a response., "
                "url: URL/responses",
                "request",
            ),
        ),
        (
            Response(body={"no": "stream"}),
            ModelFailure(
                "invalid_response",
                'expected an event stream, got application/json: {"no":"stream"}, '
                "url: URL/responses",
            ),
        ),
        (
            Response(items=[HELLO], headers={"content-encoding": "gzip"}),
            ModelFailure(
                "invalid_response",
                "the response is encoded as gzip, although `identity` was asked for, "
                "url: URL/responses",
            ),
        ),
    ],
)
async def test_a_call_fails_before_its_first_event(
    response: Response, failure: ModelFailure
) -> None:
    async with serve_script(Script.of(response)) as server:
        message = failure.message.replace("URL", server.base_url)
        expected = structs.replace(failure, message=message)
        assert await attempt(client(server.base_url)) == ([], expected)


DISCONNECTED = ModelFailure(
    "stream_disconnected",
    "stream disconnected before completion: stream closed before response.completed",
    "stream",
)


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        ({"cut_after": 4}, DISCONNECTED),
        ({"end_after": 4}, DISCONNECTED),
        (
            {"failed": Failure(code="context_length_exceeded", message="m")},
            ModelFailure("context_window_exceeded", failures.CONTEXT_WINDOW),
        ),
        (
            {"failed": Failure(code="insufficient_quota", message="m")},
            ModelFailure("quota_exceeded", failures.QUOTA),
        ),
        (
            {"failed": Failure(code="rate_limit_exceeded", message="try again in 0.2s")},
            ModelFailure(
                "rate_limited",
                "stream disconnected before completion: try again in 0.2s",
                "stream",
                200,
            ),
        ),
        (
            {"incomplete": "max_output_tokens"},
            ModelFailure(
                "response_incomplete", "Incomplete response returned, reason: max_output_tokens"
            ),
        ),
    ],
)
async def test_a_call_fails_after_finished_items(
    end: dict[str, Any], failure: ModelFailure
) -> None:
    response = Response(items=[HELLO, message("bye")], deltas=False, **end)
    # Whole events: created, added, part added, text done, part done, item done.
    ends = {name: 6 if name.endswith("_after") else value for name, value in end.items()}
    response = structs.replace(response, **ends)
    async with serve_script(Script.of(response)) as server:
        signals, found = await attempt(client(server.base_url))
    assert found == failure
    assert signals[0] == HELLO_DONE
    assert all(isinstance(signal, ItemDone) for signal in signals)


async def test_an_event_that_is_no_json_fails_the_attempt() -> None:
    async with serve_script(Script.of(Response(items=[HELLO], garbage_after=1))) as server:
        signals, failure = await attempt(client(server.base_url))
    assert (signals, failure and failure.code) == ([], "invalid_response")


async def test_limits_are_reported_by_a_refusal_too() -> None:
    limits = RateLimits(RateLimitWindow(100))
    refusal = Response(status=429, rate_limits=limits)
    async with serve_script(Script.of(refusal)) as server:
        signals, failure = await attempt(client(server.base_url))
    assert (signals, failure and failure.code) == ([LimitsReported(limits)], "rate_limited")


async def test_nothing_listens_there() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    signals, failure = await attempt(client(f"http://127.0.0.1:{port}/v1"))
    assert (signals, failure) == (
        [],
        ModelFailure(
            "connection_failed",
            f"Connection failed: all attempts to connect to 127.0.0.1:{port} failed: "
            f"Connection refused, url: http://127.0.0.1:{port}/v1/responses",
            "request",
        ),
    )


@pytest.mark.parametrize(
    ("response", "provider", "seconds"),
    [
        (Response(stall_after=0), LOCAL, 7),
        (Response(no_answer="stall"), LOCAL, 7),
        (Response(no_answer="stall"), attrs.evolve(LOCAL, first_byte_timeout_ms=2000), 2),
    ],
)
async def test_silence_fails_after_the_timeout_of_the_settings_or_the_provider(
    response: Response, provider: Provider, seconds: float, mock_clock: MockClock
) -> None:
    failed: list[ModelFailure | None] = []
    settings = structs.replace(SETTINGS, retry=RetryLimits(stream_idle_timeout_ms=7000))
    request = ModelRequest(SESSION, "turn-1", settings, "[]", [])
    # A report of limits tells that the headers have come.
    answer = structs.replace(response, rate_limits=RateLimits(RateLimitWindow(1)))
    has_headers = trio.Event()

    async def emit(_: ModelSignal) -> None:
        has_headers.set()

    async def ask(base_url: str) -> None:
        try:
            await client(base_url, provider).call(request, emit)
        except ModelCallFailed as error:
            failed.append(error.failure)

    async with serve_script(Script.of(answer)) as server, trio.open_nursery() as nursery:
        nursery.start_soon(ask, server.base_url)
        await server.wait_request(1)
        if response.no_answer is None:
            await has_headers.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(seconds - 0.1)
        await wait_all_tasks_blocked()
        assert failed == []
        mock_clock.jump(0.2)
    message = "stream disconnected before completion: idle timeout waiting for SSE"
    assert failed == [ModelFailure("idle_timeout", message, "stream")]


async def test_a_waiting_emit_is_not_an_idle_stream(mock_clock: MockClock) -> None:
    signals: list[ModelSignal] = []

    async def slow(signal: ModelSignal) -> None:
        mock_clock.jump(1000)
        await trio.lowlevel.checkpoint()
        signals.append(signal)

    async with serve_script(Script.of(Response(id="r", items=[HELLO]))) as server:
        await client(server.base_url).call(REQUEST, slow)
    assert signals == [TextDelta("hello"), HELLO_DONE, Completed("r", DEFAULT_USAGE)]


async def test_each_attempt_has_a_connection_of_its_own() -> None:
    bodies = [message(text, item_id="m") for text in ("one", "two")]
    async with serve_script(Script.of(Response(items=[HELLO], cut_after=1), *bodies)) as server:
        asked = client(server.base_url)
        assert (await attempt(asked))[1] == DISCONNECTED
        for body in bodies:
            signals, failure = await attempt(asked)
            assert failure is None
            assert ItemDone(msgspec.json.encode(body).decode()) in signals


async def test_proxies_are_never_asked_for_a_server_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    async with serve_script(Script.of("hello")) as server:
        assert (await attempt(client(server.base_url)))[1] is None


async def test_a_proxy_that_cannot_be_used_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "gopher://127.0.0.1:1")
    _, failure = await attempt(client("http://turnlog.invalid/v1"))
    assert failure is not None
    assert failure == ModelFailure(
        "environment_fault",
        "all_proxy holds no address of a proxy. Set it to an address such as "
        "http://proxy.example:3128, or unset it.",
    )


async def test_an_https_address_of_a_server_without_tls_fails_to_connect() -> None:
    async with serve_script(Script.of("hello")) as server:
        _, failure = await attempt(client(server.base_url.replace("http:", "https:")))
    assert failure is not None
    assert (failure.code, failure.retry) == ("connection_failed", "request")
    assert "Connection failed: [SSL: " in failure.message


PROBE = """
import sys, trio
from test_client import attempt, client
def loaded():
    return [name for name in ("httpx", "httpx._main", "rich", "click") if name in sys.modules]
before = loaded()
trio.run(attempt, client("http://127.0.0.1:1/v1"))
print(before, loaded())
import httpx._main
"""


def test_httpx_is_loaded_by_the_first_call_only_and_without_its_command_line() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=__file__.rpartition("/")[0],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[] ['httpx']\n"
