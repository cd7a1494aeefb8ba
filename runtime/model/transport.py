"""The only module that knows httpx: one POST on its own connection, with a streamed answer.

A connection is never kept. So a connection that a proxy or a sleeping machine has broken cannot
spoil the next request. Leaving the block closes it at once, also by an exception.

Source: httpx 0.28. Importing it costs 60 ms, and 100 ms with the command line that it brings
along; both it and the certificates are loaded in a thread, when first needed.
"""

import os
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import attrs
import trio

from turnlog.runtime.model.surroundings import (
    Proxy,
    SurroundingsUnusable,
    certificates,
    proxy_for,
)

if TYPE_CHECKING:
    import httpx

_LOADING: Final = Lock()


class Unreachable(Exception):
    """No response began: there is no connection, or it was closed first."""


class FirstByteTimeout(Exception):
    """No response began in time."""


class StreamCut(Exception):
    """The connection was closed in the middle of the response."""


@attrs.frozen
class Answer:
    """A response whose headers are here and whose body is still coming."""

    status: int
    headers: Mapping[str, str]  # names in lower case; repeated ones joined by commas
    _chunks: AsyncIterator[bytes]

    async def read(self) -> bytes | None:
        """Return the next piece of the body as it came, or None at its end.

        Once this was cancelled, the body is over.

        Raises:
            StreamCut: the body is not whole.
        """
        import httpx

        try:
            return await anext(self._chunks, None)
        except httpx.HTTPError as error:
            raise StreamCut(explain(error)) from error


@attrs.define
class Transport:
    """Posts requests. Loads the certificates once, for the first https address."""

    _tls: ssl.SSLContext | None = attrs.field(default=None, init=False)
    _tls_lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @asynccontextmanager
    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        connect_timeout: float,
        first_byte_timeout: float,
    ) -> AsyncGenerator[Answer]:
        """Send `body` and yield the answer; close the connection on leaving.

        Proxies of the environment are used, but never for an address on this machine.

        Args:
            connect_timeout: seconds until there is a connection, TLS included.
            first_byte_timeout: seconds until the headers of the response are here.

        Raises:
            Unreachable, FirstByteTimeout: there is no answer.
            SurroundingsUnusable: the environment does not let us ask.
        """
        await _load_httpx()
        import httpx

        from turnlog.runtime.model.request_body import WholeBody

        proxy = proxy_for(url, os.environ)
        async with _client(
            httpx.Timeout(None, connect=connect_timeout),
            verify=await self._certificates(url),
            proxy=proxy,
        ) as client:
            try:
                with trio.fail_after(first_byte_timeout):
                    request = client.build_request("POST", url, content=body, headers=dict(headers))
                    request.stream = WholeBody(body)
                    response = await client.send(request, stream=True)
            except trio.TooSlowError:
                raise FirstByteTimeout from None
            except httpx.ConnectTimeout as error:
                raise Unreachable(f"no connection within {connect_timeout:g} s") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                via = f" (through the proxy of {proxy.variable})" if proxy else ""
                raise Unreachable(f"{explain(error)}{via}") from error
            chunks = response.aiter_raw()
            try:
                yield Answer(response.status_code, dict(response.headers), chunks)
            finally:
                await _unwind(chunks)
                # It and its response refer to each other. Apart, they take the request's body with
                # them now; together, hundreds of bodies would wait for a collection.
                response.stream = httpx.ByteStream(b"")

    async def _certificates(self, url: str) -> ssl.SSLContext:
        if urlsplit(url).scheme != "https":
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and costs nothing
        import httpx

        async with self._tls_lock:
            if self._tls is None:
                self._tls = await trio.to_thread.run_sync(
                    certificates, httpx.create_ssl_context, os.environ
                )
            return self._tls


def _client(
    timeout: "httpx.Timeout", *, verify: ssl.SSLContext, proxy: Proxy | None
) -> "httpx.AsyncClient":
    """Return a client that takes nothing from the environment."""
    import httpx

    try:
        return httpx.AsyncClient(
            timeout=timeout, verify=verify, proxy=proxy.url if proxy else None, trust_env=False
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:  # SOCKS without its package
        if proxy is None:
            raise
        raise SurroundingsUnusable(
            f"the proxy that {proxy.variable} names cannot be used: {error}"
        ) from error


def explain(error: BaseException) -> str:
    """Return an error's text and the system's reason, if that is what caused it."""
    first = error
    while inner := _inner(first):
        first = inner
    reason = str(first)
    if isinstance(first, ConnectionError) and first.errno:
        reason = os.strerror(first.errno)  # trio's text repeats the address
    texts = [text for text in (str(error), reason) if text]
    return ": ".join(dict.fromkeys(texts)) or type(error).__name__


def _inner(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error.__cause__ or error.__context__  # httpcore raises on `from None`


async def _load_httpx() -> None:
    if "httpx" not in sys.modules:
        await trio.to_thread.run_sync(_import_httpx)


def _import_httpx() -> None:
    """Import httpx without its command line, which would bring click, rich and pygments."""
    with _LOADING:
        if "httpx" in sys.modules:
            return
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
        try:
            import httpx as httpx
        finally:
            del sys.modules["httpx._main"]


async def _unwind(chunks: AsyncIterator[bytes]) -> None:
    """End a body early. The generators under it end in order, not at a garbage collection.

    Closing the outer one would leave the inner ones to the collector; a cancelled read ends
    them from the inside, which also closes the connection.
    """
    import httpx

    with trio.CancelScope(shield=True) as scope, suppress(httpx.HTTPError):
        scope.cancel()
        async for _ in chunks:
            pass
