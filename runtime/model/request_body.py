"""A request's body for httpx. Imported with it, when the first request is made."""

from collections.abc import AsyncIterator

import attrs
import httpx


@attrs.define(eq=False)
class WholeBody(httpx.AsyncByteStream):
    """Bytes that are sent at once.

    httpx's own stream is an async generator: one that is cut off while it is sent is left to the
    garbage collector, which complains.
    """

    data: bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self.data)


@attrs.define(eq=False)
class _Once:
    data: bytes | None

    def __aiter__(self) -> "_Once":
        return self

    async def __anext__(self) -> bytes:
        if self.data is None:
            raise StopAsyncIteration
        data, self.data = self.data, None
        return data
