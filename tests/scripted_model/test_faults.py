"""What the scripted model does to its clients, byte by byte, seen from a bare socket."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import pytest
import trio
from trio.testing import MockClock

from turnlog.runtime.scripted_model.script import Response, Script, message
from turnlog.runtime.scripted_model.server import MAX_BODY, ScriptedServer, serve_script

BODY = b'{"stream": true, "model": "m", "input": []}'
POST = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n%b"
ASK = POST % (len(BODY), b"", BODY)
LAST_ASK = POST % (len(BODY), b"connection: close\r\n", BODY)
EVENTS = 8  # of the message that `told` says in one delta


def told(
    *,
    split: int | None = None,
    bom: bool = False,
    delay_ms: int = 0,
    garbage_after: int | None = None,
    stall_after: int | None = None,
    cut_after: int | None = None,
    cut_after_bytes: int | None = None,
    end_after: int | None = None,
    no_answer: Literal["stall", "cut"] | None = None,
) -> Response:
    return Response(
        items=[message("Grüße \u2028")],
        split=split,
        bom=bom,
        delay_ms=delay_ms,
        garbage_after=garbage_after,
        stall_after=stall_after,
        cut_after=cut_after,
        cut_after_bytes=cut_after_bytes,
        end_after=end_after,
        no_answer=no_answer,
    )


@asynccontextmanager
async def connected(
    *responses: Response,
) -> AsyncGenerator[tuple[ScriptedServer, trio.SocketStream], None]:
    async with serve_script(Script.of(*responses)) as server, await connect(server) as stream:
        yield server, stream


async def connect(server: ScriptedServer) -> trio.SocketStream:
    host, port = server.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    return await trio.open_tcp_stream(host, int(port))


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([data async for data in stream])


async def exchange(response: Response) -> bytes:
    """Return every byte that comes for one request, until the server closes."""
    async with connected(response) as (_, stream):
        await stream.send_all(LAST_ASK)
        return await read_all(stream)


def http_chunks(wire: bytes) -> list[bytes]:
    """Return the chunks of a chunked body; the last is empty if the body is finished."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    chunks: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        assert rest[int(size, 16) :][:2] == b"\r\n"
        rest = rest[int(size, 16) + 2 :]
    return chunks


def kinds(body: bytes) -> list[str]:
    return [kind.decode() for kind in re.findall(rb"^event: response\.(.+)$", body, re.MULTILINE)]


async def whole_body() -> bytes:
    return b"".join(http_chunks(await exchange(told())))


async def test_without_faults_one_event_is_one_chunk_and_the_body_ends() -> None:
    chunks = http_chunks(await exchange(told()))
    assert [kinds(chunk) for chunk in chunks] == [
        ["created"],
        ["output_item.added"],
        ["content_part.added"],
        ["output_text.delta"],
        ["output_text.done"],
        ["content_part.done"],
        ["output_item.done"],
        ["completed"],
        [],
    ]
    assert chunks[-1] == b""
    assert all(chunk.endswith(b"}\n\n") for chunk in chunks[:-1])


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_split_chunks_have_exactly_that_size(size: int) -> None:
    split = http_chunks(await exchange(told(split=size)))
    plain = http_chunks(await exchange(told()))
    assert split == [
        event[start : start + size] for event in plain[:-1] for start in range(0, len(event), size)
    ] + [b""]


@pytest.mark.parametrize("count", [0, 1, 4, EVENTS])
async def test_a_cut_after_n_events_leaves_the_body_unfinished(count: int) -> None:
    plain = http_chunks(await exchange(told()))
    assert http_chunks(await exchange(told(cut_after=count))) == plain[:count]


@pytest.mark.parametrize("count", [0, 1, 250, 1000])
async def test_a_cut_after_n_bytes_sends_exactly_these(count: int) -> None:
    chunks = http_chunks(await exchange(told(cut_after_bytes=count)))
    assert b"" not in chunks
    assert b"".join(chunks) == (await whole_body())[:count]


async def test_a_cut_after_the_end_never_comes() -> None:
    plain = http_chunks(await exchange(told()))
    assert http_chunks(await exchange(told(cut_after=EVENTS + 1))) == plain
    assert http_chunks(await exchange(told(cut_after_bytes=10_000))) == plain


async def test_a_stream_may_end_in_good_order_but_too_early() -> None:
    plain = http_chunks(await exchange(told()))
    assert http_chunks(await exchange(told(end_after=3))) == [*plain[:3], b""]


async def test_a_plain_answer_can_be_cut_too() -> None:
    wire = await exchange(Response(status=500, body="0123456789", cut_after_bytes=4))
    assert wire.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"content-length: 10" in wire
    assert wire.endswith(b"\r\n\r\n0123")


async def test_no_answer_can_mean_a_closed_socket() -> None:
    assert await exchange(told(no_answer="cut")) == b""


async def test_garbage_is_where_it_was_asked_for_and_the_rest_follows() -> None:
    plain = http_chunks(await exchange(told()))
    chunks = http_chunks(await exchange(told(garbage_after=2)))
    assert chunks[:2] + chunks[3:] == plain
    event, data = chunks[2].removesuffix(b"\n\n").split(b"\n")
    assert event == b"event: response.output_text.delta"
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(data.removeprefix(b"data: "))


async def test_a_byte_order_mark_comes_first() -> None:
    body = b"".join(http_chunks(await exchange(told(bom=True))))
    assert body == b"\xef\xbb\xbf" + await whole_body()


@pytest.fixture
def patient_clock(mock_clock: MockClock) -> MockClock:
    """A clock that jumps ahead when loopback, too, has been silent for some milliseconds."""
    mock_clock.autojump_threshold = 0.03
    return mock_clock


@pytest.mark.parametrize("count", [0, 5])
async def test_a_stall_sends_n_events_and_nothing_for_an_hour(
    patient_clock: MockClock, count: int
) -> None:
    plain = http_chunks(await exchange(told()))
    wire = b""
    async with connected(told(stall_after=count)) as (_, stream):
        await stream.send_all(LAST_ASK)
        with trio.move_on_after(3600) as hour:
            async for data in stream:
                wire += data
    assert hour.cancelled_caught
    assert http_chunks(wire) == plain[:count]


async def test_no_answer_can_mean_silence(patient_clock: MockClock) -> None:
    async with connected(told(no_answer="stall")) as (_, stream):
        await stream.send_all(ASK)
        with trio.move_on_after(3600) as hour:
            assert await stream.receive_some() == b""
    assert hour.cancelled_caught


async def test_the_delay_comes_before_each_chunk(patient_clock: MockClock) -> None:
    async with connected(told(delay_ms=60_000)) as (_, stream):
        await stream.send_all(LAST_ASK)
        begun, wire, times = trio.current_time(), b"", set[int]()
        async for data in stream:
            wire += data
            times.add(round(trio.current_time() - begun))
    assert kinds(b"".join(http_chunks(wire)))[-1] == "completed"
    assert times - {0} == {60 * number for number in range(1, EVENTS + 1)}


async def test_clients_that_leave_do_not_disturb_the_next_one() -> None:
    long = Response(items=[message("x" * 100_000)], delta_chars=10)
    async with serve_script(Script.of(long, told(stall_after=1), "ok", "ok")) as server:
        for leave_after in (b"HTTP/1.1 200", b"created"):
            async with await connect(server) as stream:
                await stream.send_all(ASK)
                seen = b""
                while leave_after not in seen:
                    seen += await stream.receive_some()
        async with await connect(server) as stream:
            await stream.send_all(ASK[:-5])  # leaves in the middle of its body
        async with await connect(server) as stream:
            await stream.send_all(LAST_ASK)
            assert kinds(await read_all(stream))[-1] == "completed"
        assert len(server.requests) == 3


async def test_one_connection_serves_several_requests() -> None:
    async with connected(told(), Response(status=500), told()) as (server, stream):
        await stream.send_all(ASK + ASK + LAST_ASK)
        wire = await read_all(stream)
    assert re.findall(rb"HTTP/1\.1 (\d+)", wire) == [b"200", b"500", b"200"]
    assert kinds(wire).count("completed") == 2
    assert len(server.requests) == 3


async def test_an_old_client_gets_a_body_that_ends_with_the_connection() -> None:
    async with connected(told()) as (_, stream):
        await stream.send_all(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == await whole_body()


async def test_a_client_that_waits_for_permission_gets_it() -> None:
    async with connected(told()) as (_, stream):
        await stream.send_all(POST % (len(BODY), b"expect: 100-continue\r\n", b""))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(BODY)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"hello\r\n\r\n", b"400 Bad Request", b"bad_request"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 60_000, b"431 ", b"bad_request"),
        (POST % (MAX_BODY + 1, b"", b"{"), b"413 ", b"too_large"),
    ],
)
async def test_what_is_no_request_is_refused(sent: bytes, status: bytes, code: bytes) -> None:
    async with connected(told()) as (server, stream):
        await stream.send_all(sent)
        await stream.send_eof()
        wire = await read_all(stream)
        assert server.requests == []
    assert wire.startswith(b"HTTP/1.1 " + status)
    assert b'"code":"%b"' % code in wire


async def test_a_body_of_unknown_length_is_bounded_too() -> None:
    piece = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
    async with connected(told()) as (_, stream):
        await stream.send_all(
            b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(MAX_BODY // (1 << 20) + 2):
            await stream.send_all(piece)
        await stream.send_eof()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 413 ")
