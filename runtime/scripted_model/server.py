"""The scripted model's HTTP server: h11 on trio streams.

An HTTP framework does not hang, cut or split an answer on purpose; this server does. It listens
on loopback unless told otherwise, asks for no key, and prints nothing.

    POST /v1/responses   the script's next response
    GET  /v1/models      the models, where it was told of any
    GET  /healthz        {"status": "ok"}
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, Protocol

import attrs
import h11
import msgspec
import trio

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.scripted_model.player import Answer, Player, error
from turnlog.runtime.scripted_model.script import Script
from turnlog.runtime.scripted_model.stream import Stop

MAX_BODY: Final = 64 * 1024 * 1024  # bytes of a request's body
_MAX_HEAD: Final = 256 * 1024  # bytes of its headers; Codex puts a whole JSON text into one
_MAX_CONNECTIONS: Final = 256  # further ones wait
_MAX_PORT: Final = 65_535
_READ: Final = 64 * 1024
_LINGER: Final = 5.0  # seconds for a refused client to read why
_HEALTHY: Final = b'{"status": "ok"}'


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case; repeated ones joined by ", "
    body: Any  # decoded JSON; None: there is none, or it is no JSON


class Answering(Protocol):
    """What a server gives its requests to: a `Player`, or whatever answers like one."""

    def answer(self, body: object) -> Answer:
        """Return the answer to a request for a response, whose decoded JSON `body` is."""
        ...


@attrs.define(eq=False)
class ScriptedServer:
    """A running server. `requests` holds every whole request, in the order of arrival."""

    base_url: str  # such as http://127.0.0.1:49152/v1
    _player: Answering
    _keep_requests: bool = True
    _models: Sequence[str] = ()
    requests: list[ReceivedRequest] = attrs.field(factory=list[ReceivedRequest], init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def wait_request(self, number: int) -> ReceivedRequest:
        """Wait until the `number`-th request (1-based) has arrived, and return it."""
        while len(self.requests) < number:
            await self._arrived.wait()
        return self.requests[number - 1]

    def receive(self, request: ReceivedRequest) -> Answer:
        """Note `request` and return what is sent for it."""
        if self._keep_requests:
            self.requests.append(request)
            self._arrived.set()
            self._arrived = trio.Event()
        match request.path.partition("?")[0], request.method:
            case "/v1/responses", "POST":
                return self._player.answer(request.body)
            case "/v1/models", "GET" if self._models:
                listed = [{"id": name, "object": "model"} for name in self._models]
                return _json(msgspec.json.encode({"object": "list", "data": listed}))
            case "/healthz", "GET":
                return _json(_HEALTHY)
            case ("/v1/responses" | "/healthz") as path, _:
                allowed = "GET" if path == "/healthz" else "POST"
                return error(405, "bad_method", f"use {allowed} {path}", {"allow": allowed})
            case path, _:
                return error(404, "not_found", f"no {path} here; use POST /v1/responses")


@asynccontextmanager
async def serve_script(
    script: Script, port: int = 0, *, host: str = "127.0.0.1", keep_requests: bool = True
) -> AsyncGenerator[ScriptedServer, None]:
    """Serve `script` while the block runs, as `serve_player` does.

    Raises:
        UsageError: the server cannot listen there.
    """
    player = Player(script)
    async with serve_player(player, port, host=host, keep_requests=keep_requests) as server:
        yield server


@asynccontextmanager
async def serve_player(
    player: Answering,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    keep_requests: bool = True,
    models: Sequence[str] = (),
) -> AsyncGenerator[ScriptedServer, None]:
    """Serve what `player` answers while the block runs; then drop all connections.

    Args:
        models: what GET /v1/models lists; without any there is no such list.
        port: 0 lets the system choose one.
        keep_requests: False for a server that runs for long: `requests` stays empty, and
            nobody can wait for one.

    Raises:
        UsageError: the server cannot listen there.
    """
    try:
        if not 0 <= port <= _MAX_PORT:  # the system would take it modulo 65536
            raise OSError(f"ports are 0 to {_MAX_PORT}")
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as problem:
        raise UsageError(
            ErrorCode.ADDRESS_UNAVAILABLE,
            f"cannot listen on {host}, port {port}: {problem}. "
            "Name another port, or 0 for a free one.",
        ) from problem
    address, bound = listeners[0].socket.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    server = ScriptedServer(f"http://{shown}:{bound}/v1", player, keep_requests, models)
    slots = trio.Semaphore(_MAX_CONNECTIONS)

    async def handle(stream: trio.SocketStream) -> None:
        async with stream, slots:
            await _Connection(stream, server).run()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        try:
            yield server
        except Exception as problem:  # the block's own; not to be wrapped in a group
            failure = problem
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def run_server(script: Script, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve `script` until cancelled. `announce` gets the base URL once connections are taken.

    Raises:
        UsageError: the server cannot listen there.
    """
    async with serve_script(script, port, host=host, keep_requests=False) as server:
        announce(server.base_url)
        await trio.sleep_forever()


def _json(data: bytes) -> Answer:
    headers = {"content-type": "application/json", "content-length": str(len(data))}
    return Answer(200, headers, [data, Stop.END])


class _BodyTooLarge(Exception):
    """A request's body is over MAX_BODY."""


@attrs.define
class _Connection:
    """One client's connection: requests and answers in turns, until one side closes."""

    _stream: trio.SocketStream
    _server: ScriptedServer
    _http: h11.Connection = attrs.field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD),
        init=False,
    )

    async def run(self) -> None:
        try:
            while (request := await self._read_request()) is not None:
                if not await self._send(self._server.receive(request)):
                    return
                if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as problem:
            await self._refuse(problem.error_status_hint, "bad_request", str(problem))
        except _BodyTooLarge:
            limit = MAX_BODY // 1024 // 1024
            await self._refuse(413, "too_large", f"the body is over {limit} MiB")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client left; others continue

    async def _read_request(self) -> ReceivedRequest | None:
        """Return the next whole request; None once the client has closed its side."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        await self._stream.send_all(self._http.send(go_on) or b"")
                    self._http.receive_data(await self._stream.receive_some(_READ))
                case h11.Request():
                    head = event
                    if _announced_length(head) > MAX_BODY:
                        raise _BodyTooLarge
                case h11.Data():
                    body += event.data
                    if len(body) > MAX_BODY:
                        raise _BodyTooLarge
                case h11.EndOfMessage() if head is not None:
                    return _received(head, body)
                case _:  # ConnectionClosed, or PAUSED when the client switches protocols
                    return None

    async def _send(self, answer: Answer) -> bool:
        """Send `answer`. Return whether it ended in good order."""
        if answer.status is not None:
            await self._write(_head(answer.status, answer.headers))
        for chunk in answer.chunks:
            match chunk:
                case Stop.END:
                    await self._write(h11.EndOfMessage())
                    return True
                case Stop.CUT:
                    return False
                case Stop.STALL:
                    await self._wait_until_closed()
                    return False
                case bytes():
                    if answer.delay_ms:
                        await trio.sleep(answer.delay_ms / 1000)
                    await self._write(h11.Data(chunk))
        return False

    async def _write(self, event: h11.Event) -> None:
        await self._stream.send_all(self._http.send(event) or b"")

    async def _wait_until_closed(self) -> None:
        while await self._stream.receive_some(_READ):
            pass

    async def _refuse(self, status: int, code: str, text: str) -> None:
        """Answer a request that could not be read, if there is still somebody to answer.

        What the client still sends is thrown away: closing at once would reset the
        connection, and the client might lose the answer.
        """
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        try:
            await self._send(error(status, code, text, {"connection": "close"}))
            await self._stream.send_eof()
            with trio.move_on_after(_LINGER):
                await self._wait_until_closed()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


def _announced_length(head: h11.Request) -> int:
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _received(head: h11.Request, body: bytearray) -> ReceivedRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        decoded: Any = msgspec.json.decode(bytes(body)) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    return ReceivedRequest(
        head.method.decode("latin-1"), head.target.decode("latin-1"), headers, decoded
    )


def _head(status: int, headers: Mapping[str, str]) -> h11.Response:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # a status that no standard names
        reason = ""
    return h11.Response(status_code=status, headers=list(headers.items()), reason=reason)
