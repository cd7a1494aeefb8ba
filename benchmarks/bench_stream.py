"""Reading a model's stream: our splitting and decoding against what httpx costs for the same.

The server is in this process and sends one event in each chunk, as providers do; it has the whole
answer ready, so that nearly all of the time is the client's.
"""

from functools import partial

import httpx
import trio
from measure import ROUNDS, Bench, Claim, Rounds, main, show_time, timed

from turnlog.actors.ports import Completed
from turnlog.runtime.model.signals import read_signal
from turnlog.runtime.model.sse import SseSplitter

EVENTS = 3000
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

SPLIT = Claim("SSE split + decode against httpx, one event a chunk", 10, "%")
CLAIMS = (SPLIT,)


def _chunks() -> list[bytes]:
    """Return a response's events, about 240 bytes each, as the API writes them."""
    chunks = [
        (
            "event: response.output_text.delta\n"
            f'data: {{"type":"response.output_text.delta","sequence_number":{number},'
            '"item_id":"msg_0001a2b3c4d5e6f708192a3b4c5d6e7f","output_index":0,'
            f'"content_index":0,"delta":" word{number}","logprobs":[],"obfuscation":"Qb7"}}\n\n'
        ).encode()
        for number in range(EVENTS)
    ]
    end = (
        b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r"}}\n\n'
    )
    return [*chunks, end]


def _split(chunks: list[bytes]) -> None:
    splitter = SseSplitter()
    signals = [read_signal(event) for chunk in chunks for event in splitter.feed(chunk)]
    assert isinstance(signals[-1], Completed)
    assert len(signals) == len(chunks)


async def _answer(body: bytes, stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some(65536)
        await stream.send_all(body)


async def _fetch(url: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", url) as response:
        return sum([1 async for _ in response.aiter_raw()])


async def _measure(bench: Bench) -> None:
    chunks, rounds = _chunks(), Rounds()
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    body = _HEAD + framed + b"0\r\n\r\n"
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(partial(trio.serve_listeners, partial(_answer, body), listeners))
        url = f"http://127.0.0.1:{port}/"
        await _fetch(url)
        for _ in range(ROUNDS):
            rounds.begin()
            for _ in range(2):
                begin = trio.current_time()
                assert await _fetch(url) >= len(chunks)  # a chunk may come in two pieces
                rounds.add("httpx", [(trio.current_time() - begin) / len(chunks)])
                took = timed(partial(_split, chunks)) / len(chunks)
                rounds.add("split + decode, %", [100 * took])
                rounds.add("split + decode", [took])
        nursery.cancel_scope.cancel()
    bench.ratio(SPLIT, rounds, "split + decode, %", "httpx")
    bench.note(f"an event takes {show_time(rounds.best('split + decode'))}")


def measure(bench: Bench) -> None:
    trio.run(_measure, bench)


if __name__ == "__main__":
    main("stream", CLAIMS, measure)
