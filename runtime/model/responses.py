"""The client of the OpenAI Responses API. It makes one attempt and retries nothing."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import msgspec
import trio
from msgspec import UNSET, Raw, Struct, UnsetType

from turnlog.actors.ports import (
    Completed,
    LimitsReported,
    ModelCallFailed,
    ModelRequest,
    ModelSignal,
)
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.version import VERSION
from turnlog.runtime.model import failures
from turnlog.runtime.model.provider import Provider
from turnlog.runtime.model.signals import read_limits, read_signal
from turnlog.runtime.model.sse import EventTooLarge, SseSplitter
from turnlog.runtime.model.surroundings import SurroundingsUnusable
from turnlog.runtime.model.transport import (
    Answer,
    FirstByteTimeout,
    StreamCut,
    Transport,
    Unreachable,
)

Emit = Callable[[ModelSignal], Awaitable[None]]

_ERROR_BODY_BYTES: Final = 64 * 1024
_ERROR_BODY_SECONDS: Final = 5.0


class _Reasoning(Struct, omit_defaults=True):
    effort: str | None = None
    summary: str | None = None


class _Text(Struct, omit_defaults=True):
    verbosity: str | None = None
    format: dict[str, object] | None = None


class _Body(Struct, frozen=True):
    """The body of a request, in the order in which it is written."""

    model: str
    input: list[Raw]
    tools: Raw
    parallel_tool_calls: bool
    prompt_cache_key: str
    client_metadata: dict[str, str]
    reasoning: _Reasoning | UnsetType
    text: _Text | UnsetType
    tool_choice: str = "auto"
    store: bool = False
    stream: bool = True
    include: tuple[str, ...] = ("reasoning.encrypted_content",)


def encode_body(request: ModelRequest) -> bytes:
    """Return the JSON body of `request`. It holds parts and tools byte for byte.

    The API keeps nothing (`store` is false), so each request carries the whole conversation,
    encrypted reasoning included. A reasoning summary of `none` is left out, as the API wants it.
    """
    chosen = request.settings.session
    summary = chosen.reasoning_summary
    reasoning = _Reasoning(chosen.reasoning_effort, None if summary == "none" else summary)
    text = _Text(chosen.verbosity)
    if request.output_schema is not None:
        text.format = {
            "type": "json_schema",
            "strict": True,
            "name": "codex_output_schema",
            "schema": request.output_schema,
        }
    body = _Body(
        model=chosen.model,
        input=[Raw(part) for part in request.input],
        tools=Raw(request.tools_json),
        parallel_tool_calls=request.settings.parallel_tool_calls,
        prompt_cache_key=request.cache_key or request.session,
        client_metadata={
            "session_id": request.session,
            "thread_id": request.session,
            "turn_id": request.turn_id,
        },
        reasoning=UNSET if reasoning == _Reasoning() else reasoning,
        text=UNSET if text == _Text() else text,
    )
    return msgspec.json.encode(body)


@attrs.frozen
class ResponsesClient:
    """A `ModelClient` for every provider of the configuration, by name.

    `originator` says which front-end asks. Keys are looked up in `environ` at each call.
    """

    providers: Mapping[str, Provider]
    originator: str = "turnlog"
    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)
    _transport: Transport = attrs.field(factory=Transport, init=False, repr=False)

    async def call(self, request: ModelRequest, emit: Emit) -> None:
        """Make one attempt, as `ModelClient.call` says."""
        provider = self._provider(request.settings.session.model_provider)
        idle_ms = request.settings.retry.stream_idle_timeout_ms
        async with self._answer(provider, request, idle_ms) as answer:
            if limits := read_limits(answer.headers):
                await emit(LimitsReported(limits))
            if answer.status != 200:
                body = await _error_body(answer)
                raise ModelCallFailed(
                    failures.http_failure(answer.status, answer.headers, body, provider.shown_url)
                )
            await _check_form(answer, provider)
            await _relay(answer, idle_ms / 1000, emit)

    def _provider(self, name: str) -> Provider:
        if provider := self.providers.get(name):
            return provider
        known = ", ".join(sorted(self.providers)) or "none"
        raise ModelCallFailed(
            ModelFailure(
                "bad_request",
                f"there is no model provider {name!r} (there is: {known}). Choose one of these as "
                f"`model_provider`, or add [model_providers.{name}] to the configuration.",
            )
        )

    @asynccontextmanager
    async def _answer(
        self, provider: Provider, request: ModelRequest, idle_ms: int
    ) -> AsyncGenerator[Answer]:
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "originator": self.originator,
            "session-id": request.session,
            "thread-id": request.session,
            "user-agent": f"turnlog/{VERSION}",
            **await provider.headers(self.environ),
        }
        try:
            async with self._transport.post(
                provider.url,
                headers,
                encode_body(request),
                connect_timeout=provider.connect_timeout_ms / 1000,
                first_byte_timeout=(provider.first_byte_timeout_ms or idle_ms) / 1000,
            ) as answer:
                yield answer
        except SurroundingsUnusable as error:
            raise ModelCallFailed(ModelFailure("environment_fault", str(error))) from error
        except Unreachable as error:
            failure = failures.unreachable(str(error), provider.shown_url)
            raise ModelCallFailed(failure) from error
        except FirstByteTimeout as error:
            raise ModelCallFailed(failures.idle_timeout()) from error


async def _relay(answer: Answer, idle_timeout: float, emit: Emit) -> None:
    """Emit what the stream says, up to its last event. Do not wait for anything after it."""
    splitter = SseSplitter()
    while (chunk := await _next_chunk(answer, idle_timeout)) is not None:
        try:
            for event in splitter.feed(chunk):
                signal = read_signal(event)
                if signal is not None:
                    await emit(signal)
                if isinstance(signal, Completed):
                    return
        except EventTooLarge as error:
            failure = failures.unreadable(f"the response is not usable: {error}")
            raise ModelCallFailed(failure) from error
    raise ModelCallFailed(failures.disconnected())


async def _next_chunk(answer: Answer, idle_timeout: float) -> bytes | None:
    """Return the next piece of the stream. Any byte is a sign of life, a comment's too."""
    with trio.move_on_after(idle_timeout):
        try:
            return await answer.read()
        except StreamCut as error:
            raise ModelCallFailed(failures.disconnected()) from error
    raise ModelCallFailed(failures.idle_timeout())


async def _error_body(answer: Answer) -> bytes:
    """Return the body of an error, or as much of it as comes: 64 KiB, 5 seconds."""
    body = bytearray()
    with trio.move_on_after(_ERROR_BODY_SECONDS), suppress(StreamCut):
        while len(body) < _ERROR_BODY_BYTES and (chunk := await answer.read()) is not None:
            body += chunk
    return bytes(body[:_ERROR_BODY_BYTES])


async def _check_form(answer: Answer, provider: Provider) -> None:
    """Refuse what is not an event stream, and say what it is instead."""
    encoding = answer.headers.get("content-encoding", "identity")
    content = answer.headers.get("content-type", "")
    if encoding != "identity":
        why = f"the response is encoded as {encoding}, although `identity` was asked for"
    elif "json" in content or "html" in content:
        body = (await _error_body(answer)).decode("utf-8", "replace")
        shown = failures.cut(body, failures.MAX_BODY_BYTES)
        why = f"expected an event stream, got {content}: {shown}"
    else:
        return
    raise ModelCallFailed(failures.unreadable(f"{why}, url: {provider.shown_url}"))
