"""The Responses client against a server that sends exact bytes: cuts, cancellation, bounds."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from turnlog.actors.ports import (
    Completed,
    ItemDone,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
    TextDelta,
)
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.ids import SessionId
from turnlog.protocol.settings import SessionSettings, TurnSettings
from turnlog.runtime.model import failures
from turnlog.runtime.model.provider import Provider
from turnlog.runtime.model.responses import ResponsesClient

SETTINGS = TurnSettings(SessionSettings(cwd="/", model="m", model_provider="local"))
PARTS = ['{ "text" : "é\u2028", "n":1.50 }', '{"b":[ ]}']
REQUEST = ModelRequest(SessionId("s"), "t", SETTINGS, '[ {"name": "x"} ]', PARTS)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MESSAGE = '{"type":"message","role":"assistant","content":[]}'
CALL = '{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}'
EVENTS: list[tuple[str, ModelSignal | None]] = [
    ('{"type":"response.created"}', None),
    ('{"type":"response.output_text.delta","delta":"é"}', TextDelta("é")),
    (f'{{"type":"response.output_item.done","item":{MESSAGE}}}', ItemDone(MESSAGE)),
    (f'{{"type":"response.output_item.done","item":{CALL}}}', ItemDone(CALL)),
    ('{"type":"response.completed","response":{"id":"r"}}', Completed("r", None)),
]


@attrs.define
class RawServer:
    """Answers each connection's request with `reply`, then closes unless `reply` waits."""

    base_url: str
    reply: Callable[[trio.SocketStream], Awaitable[None]]
    requests: list[bytes] = attrs.field(factory=list[bytes])
    is_asked: trio.Event = attrs.field(factory=trio.Event)

    async def handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (received := await stream.receive_some(65536)):
                    return
                request += received
                self.is_asked.set()
            head, _, body = request.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += await stream.receive_some(65536)
            self.requests.append(body)
            await self.reply(stream)


@asynccontextmanager
async def serve(
    reply: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncGenerator[RawServer]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RawServer(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1", reply)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, server.handle, listeners))
        yield server
        nursery.cancel_scope.cancel()


def client(server: RawServer) -> ResponsesClient:
    return ResponsesClient({"local": Provider("local", server.base_url)}, environ={})


async def attempt(server: RawServer) -> tuple[list[ModelSignal], ModelFailure | None]:
    signals: list[ModelSignal] = []

    async def emit(signal: ModelSignal) -> None:
        await trio.lowlevel.checkpoint()
        signals.append(signal)

    try:
        await client(server).call(REQUEST, emit)
    except ModelCallFailed as error:
        return signals, error.failure
    return signals, None


def framed(event: str) -> bytes:
    data = f"data: {event}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


async def sends(stream: trio.SocketStream, *, data: bytes) -> None:
    await stream.send_all(data)


async def test_parts_and_tools_are_sent_byte_for_byte() -> None:
    whole = HEAD + b"".join(framed(event) for event, _ in EVENTS) + b"0\r\n\r\n"
    async with serve(partial(sends, data=whole)) as server:
        assert await attempt(server) == ([signal for _, signal in EVENTS if signal], None)
    assert ",".join(PARTS).encode() in server.requests[0]
    assert b'"tools":[ {"name": "x"} ],' in server.requests[0]


async def test_a_response_cut_anywhere_is_whole_or_disconnected() -> None:
    whole, ends = HEAD, list[int]()
    for event, _ in EVENTS:
        whole += framed(event)
        ends.append(len(whole) - len(b"\r\n"))
    whole += b"0\r\n\r\n"

    cut = 0

    async def reply(stream: trio.SocketStream) -> None:
        await stream.send_all(whole[:cut])

    async with serve(reply) as server:
        for cut in range(len(whole) + 1):
            signals, failure = await attempt(server)
            came = [signal for (_, signal), end in zip(EVENTS, ends, strict=True) if end <= cut]
            assert signals == [signal for signal in came if signal], cut
            if cut < len(HEAD):
                assert failure is not None
                assert (failure.code, failure.retry) == ("connection_failed", "request"), cut
            else:
                assert failure == (None if cut >= ends[-1] else failures.disconnected()), cut


async def test_what_follows_the_last_event_is_not_waited_for() -> None:
    closed = trio.Event()

    async def reply(stream: trio.SocketStream) -> None:
        await stream.send_all(HEAD + framed(EVENTS[-1][0]) + framed(EVENTS[1][0]))
        assert await stream.receive_some() == b""
        closed.set()

    async with serve(reply) as server:
        assert await attempt(server) == ([Completed("r", None)], None)
        await closed.wait()


@pytest.mark.parametrize("place", ["before the headers", "in the stream", "in emit"])
async def test_cancelling_closes_the_connection_at_once(place: str) -> None:
    here, closed = trio.Event(), trio.Event()

    async def reply(stream: trio.SocketStream) -> None:
        if place == "before the headers":
            here.set()
        else:
            await stream.send_all(HEAD + framed(EVENTS[1][0]) * 3)
        try:
            received = await stream.receive_some()
        except trio.BrokenResourceError:
            received = b""  # closed with bytes that it had not read
        assert received == b""
        closed.set()

    async def emit(signal: ModelSignal) -> None:
        here.set()
        if place == "in emit":
            await trio.sleep_forever()

    async def call(server: RawServer, scope: trio.CancelScope) -> None:
        with scope:
            await client(server).call(REQUEST, emit)

    async with serve(reply) as server, trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(call, server, scope)
        await here.wait()
        await wait_all_tasks_blocked()
        scope.cancel()
        await closed.wait()
    assert scope.cancelled_caught


async def test_an_error_in_emit_is_raised_on_and_closes_the_connection() -> None:
    closed = trio.Event()

    async def reply(stream: trio.SocketStream) -> None:
        await stream.send_all(HEAD + framed(EVENTS[1][0]))
        assert await stream.receive_some() == b""
        closed.set()

    async def emit(signal: ModelSignal) -> None:
        raise ZeroDivisionError

    async with serve(reply) as server:
        with pytest.raises(ZeroDivisionError):
            await client(server).call(REQUEST, emit)
        await closed.wait()


ENDLESS = b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_an_endless_error_body_is_read_up_to_a_bound() -> None:
    sent = 0

    async def reply(stream: trio.SocketStream) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            await stream.send_all(ENDLESS)
            while True:
                await stream.send_all(b"400\r\n" + b"x" * 0x400 + b"\r\n")
                sent += 1

    async with serve(reply) as server:
        signals, failure = await attempt(server)
    assert sent < 32 * 1024  # KiB, most of them in the sockets' buffers
    assert (signals, failure) == (
        [],
        ModelFailure(
            "server_error",
            f"unexpected status 503 Service Unavailable: {'x' * 997}…, "
            f"url: {server.base_url}/responses",
            "request",
            http_status=503,
        ),
    )


async def test_a_connection_has_a_timeout_of_its_own_tls_included(mock_clock: MockClock) -> None:
    caught: list[ModelFailure | None] = []
    has_failed = trio.Event()

    async def call(server: RawServer) -> None:
        server.base_url = server.base_url.replace("http:", "https:")
        caught.append((await attempt(server))[1])
        has_failed.set()

    async def reply(stream: trio.SocketStream) -> None:
        raise AssertionError("no request can come")

    async with serve(reply) as server, trio.open_nursery() as nursery:
        nursery.start_soon(call, server)
        await server.is_asked.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(15.1)
        await has_failed.wait()
    assert caught == [
        failures.unreachable("no connection within 15 s", f"{server.base_url}/responses")
    ]


async def test_a_stalled_error_body_is_waited_for_five_seconds(mock_clock: MockClock) -> None:
    caught: list[ModelFailure] = []
    has_headers = trio.Event()
    limits = b"x-codex-primary-used-percent: 1\r\n"

    async def reply(stream: trio.SocketStream) -> None:
        await stream.send_all(ENDLESS.replace(b"\r\n", b"\r\n" + limits, 1) + b"400\r\nbusy")
        assert await stream.receive_some() == b""

    async def emit(signal: ModelSignal) -> None:
        has_headers.set()

    async def call(server: RawServer) -> None:
        try:
            await client(server).call(REQUEST, emit)
        except ModelCallFailed as error:
            caught.append(error.failure)

    async with serve(reply) as server, trio.open_nursery() as nursery:
        nursery.start_soon(call, server)
        await has_headers.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(5.1)
    message = f"unexpected status 503 Service Unavailable: busy, url: {server.base_url}/responses"
    assert caught == [ModelFailure("server_error", message, "request", http_status=503)]


async def test_an_answer_that_is_no_http_is_no_response() -> None:
    async with serve(partial(sends, data=b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        signals, failure = await attempt(server)
    assert failure is not None
    assert (signals, failure.code, failure.retry) == ([], "connection_failed", "request")
