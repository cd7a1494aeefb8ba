"""The scripted model as clients see it, through httpx and an SSE reader that is not ours."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx_sse
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.usage import RateLimits, RateLimitWindow, TokenUsage
from turnlog.runtime.scripted_model.script import (
    DEFAULT_USAGE,
    Failure,
    Item,
    Response,
    Script,
    call,
    custom,
    message,
    reasoning,
)
from turnlog.runtime.scripted_model.server import (
    ReceivedRequest,
    ScriptedServer,
    run_server,
    serve_script,
)
from turnlog.runtime.scripted_model.stream import usage_on_wire

Event = dict[str, Any]
COMPACT = "You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary."


@asynccontextmanager
async def served(
    *responses: Response | str, loop: bool = False
) -> AsyncGenerator[tuple[ScriptedServer, httpx.AsyncClient], None]:
    async with (
        serve_script(Script.of(*responses, loop=loop)) as server,
        httpx.AsyncClient(base_url=server.base_url, trust_env=False, verify=False) as client,
    ):
        yield server, client


def request(*inputs: str) -> Event:
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        for text in inputs
    ]
    return {"model": "gpt-5.5", "stream": True, "input": items}


async def read_events(client: httpx.AsyncClient, *inputs: str) -> list[Event]:
    url = "/responses"
    async with httpx_sse.aconnect_sse(client, "POST", url, json=request(*inputs)) as source:
        events: list[Event] = []
        async for sent in source.aiter_sse():
            events.append(sent.json())
            assert sent.event == events[-1]["type"]
        return events


async def post(client: httpx.AsyncClient, *inputs: str) -> httpx.Response:
    return await client.post("/responses", json=request(*inputs))


def done_items(events: list[Event]) -> list[Item]:
    return [event["item"] for event in events if event["type"] == "response.output_item.done"]


def texts(events: list[Event]) -> list[str]:
    return [item["content"][0]["text"] for item in done_items(events)]


async def said(client: httpx.AsyncClient, *inputs: str) -> str:
    return "".join(texts(await read_events(client, *inputs)))


async def test_a_message_is_streamed_as_the_api_streams_it() -> None:
    async with served(Response(items=[message("Hi there")], delta_chars=5)) as (_, client):
        events = await read_events(client)
    response: Event = {"id": "resp_0001", "object": "response", "created_at": 0, "model": "gpt-5.5"}
    whole: Event = {"type": "output_text", "text": "Hi there", "annotations": []}
    item: Event = {
        "type": "message",
        "id": "msg_0001",
        "role": "assistant",
        "content": [whole],
    }
    part: Event = {"item_id": "msg_0001", "output_index": 0, "content_index": 0}
    begun: Event = {"status": "in_progress", "output": [], "usage": None}
    ended: Event = {"status": "completed", "output": [item], "usage": usage_on_wire(DEFAULT_USAGE)}
    expected: list[tuple[str, Event]] = [
        ("response.created", {"response": response | begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": item | {"content": [], "status": "in_progress"}},
        ),
        ("response.content_part.added", part | {"part": {**whole, "text": ""}}),
        ("response.output_text.delta", part | {"delta": "Hi th"}),
        ("response.output_text.delta", part | {"delta": "ere"}),
        ("response.output_text.done", part | {"text": "Hi there"}),
        ("response.content_part.done", part | {"part": whole}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response | ended}),
    ]
    assert events == [
        {"type": kind, "sequence_number": number, **fields}
        for number, (kind, fields) in enumerate(expected)
    ]


async def test_reasoning_and_calls_have_events_of_their_own() -> None:
    items = [
        reasoning("plan", content="raw"),
        call("exec_command", {"cmd": "ls"}),
        custom("apply_patch", "*** Begin Patch"),
        {"type": "web_search_call", "status": "completed"},
    ]
    async with served(Response(items=items, delta_chars=99)) as (_, client):
        events = await read_events(client)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds == [
        "created",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "completed",
    ]
    assert [item["id"] for item in done_items(events)] == [
        "rs_0001",
        "fc_0001",
        "ctc_0001",
        "ws_0001",
    ]
    assert [item.get("call_id") for item in done_items(events)] == [
        None,
        "call_0001",
        "call_0002",
        None,
    ]


def thought(summary: list[str], content: str | None) -> Item:
    return reasoning(*summary, content=content)


def newer_kind(text: str) -> Item:
    return {"type": "new_call", "id": "n1", "inner": [text]}


def malformed(content: str) -> Item:
    return {"type": "message", "role": "assistant", "content": content}


TEXT = st.text(max_size=40)
NAME = st.text("abcdefg_", min_size=1, max_size=8)
ITEM = st.one_of(
    st.builds(message, TEXT, phase=st.sampled_from([None, "commentary"])),
    st.builds(thought, st.lists(TEXT, max_size=3), st.none() | TEXT),
    st.builds(call, NAME, st.dictionaries(NAME, TEXT) | TEXT),
    st.builds(custom, NAME, TEXT),
    st.builds(newer_kind, TEXT),
    st.builds(malformed, TEXT),
)
USAGE = st.builds(TokenUsage, *[st.integers(0, 10**6)] * 5)
RESPONSE = st.builds(
    Response,
    items=st.lists(ITEM, max_size=4),
    usage=st.none() | USAGE,
    deltas=st.booleans(),
    delta_chars=st.integers(1, 20),
    split=st.none() | st.integers(1, 300),
    incomplete=st.sampled_from([None, None, "max_output_tokens"]),
)


@settings(max_examples=40, deadline=None)
@given(responses=st.lists(RESPONSE, max_size=3))
async def test_every_item_arrives_exactly_and_in_order(responses: list[Response]) -> None:
    async with served(*responses) as (_, client):
        for response in responses:
            events = await read_events(client)
            items = done_items(events)
            end = events[-1]["response"]
            assert [without_names(item) for item in items] == [
                without_names(item) for item in response.items
            ]
            assert end["output"] == items
            assert end["usage"] == (response.usage and usage_on_wire(response.usage))
            assert end["status"] == ("incomplete" if response.incomplete else "completed")
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert_deltas_give_the_texts(events, has_deltas=response.deltas)
        assert (await post(client)).json()["error"]["code"] == "script_over"


def without_names(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in {"id", "call_id"}}


def assert_deltas_give_the_texts(events: list[Event], *, has_deltas: bool) -> None:
    text = ""
    for event in events:
        if event["type"].endswith(".delta"):
            assert has_deltas
            text += event["delta"]
        elif event["type"].endswith((".done", ".added")):
            whole = [event[name] for name in ("text", "arguments", "input") if name in event]
            if whole and has_deltas:
                assert text == whole[0]
            text = ""


async def test_the_same_requests_get_the_same_bytes() -> None:
    async def run() -> list[bytes]:
        async with served("one", Response(items=[call("f"), call("g")]), "three") as (_, client):
            return [(await post(client)).content for _ in range(4)]

    assert await run() == await run()


async def test_failed_and_incomplete_responses_end_with_their_cause() -> None:
    failure = Failure(code="context_length_exceeded", message="too long")
    failing = Response(items=[message("part")], failed=failure)
    async with served(failing, Response(incomplete="max_output_tokens")) as (_, client):
        failed, incomplete = (await read_events(client))[-1], (await read_events(client))[-1]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {
        "code": "context_length_exceeded",
        "message": "too long",
    }
    assert incomplete["type"] == "response.incomplete"
    assert incomplete["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_an_http_error_has_its_status_headers_and_body() -> None:
    body = {"error": {"type": "usage_limit_reached", "message": "later"}}
    limits = RateLimits(RateLimitWindow(99.5, 300, 1_800_000_000), RateLimitWindow(12))
    limited = Response(status=429, headers={"retry-after": "7"}, body=body, rate_limits=limits)
    plain = Response(status=400, body="no such model")
    async with served(limited, plain, Response(status=500)) as (_, client):
        first, second, third = await post(client), await post(client), await post(client)
    assert (first.status_code, first.json()) == (429, body)
    assert first.headers["retry-after"] == "7"
    assert {name: value for name, value in first.headers.items() if "codex" in name} == {
        "x-codex-primary-used-percent": "99.5",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": "1800000000",
        "x-codex-secondary-used-percent": "12",
    }
    assert (second.status_code, second.text) == (400, "no such model")
    assert third.status_code == 500
    assert third.json() == {
        "error": {"message": "scripted status 500", "type": "scripted_model", "code": None}
    }


async def test_a_stream_may_claim_to_be_something_else_and_carry_rate_limits() -> None:
    limits = RateLimits(RateLimitWindow(1.0))
    odd = Response(items=[message("x")], content_type="text/html", rate_limits=limits)
    async with served(odd) as (_, client):
        answer = await post(client)
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["x-codex-primary-used-percent"] == "1"
    assert answer.text.startswith("event: response.created\n")


async def test_an_event_over_one_mebibyte_arrives_whole() -> None:
    text = "é" * 1_200_000
    async with served(Response(items=[message(text)], deltas=False)) as (_, client):
        assert await said(client) == text


async def test_a_script_that_is_over_says_so() -> None:
    async with served("only") as (_, client):
        await post(client)
        answer = await post(client)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        {
            "type": "scripted_model",
            "code": "script_over",
            "message": "scripted model: the script is over: its 1 responses have been given out. "
            "Add a response for this request, or set `loop` to begin again.",
        },
    )


async def test_a_script_may_repeat_a_response_and_begin_again() -> None:
    async with served(Response(items=[message("a")], repeat=2), "b", loop=True) as (_, client):
        assert [await said(client) for _ in range(7)] == ["a", "a", "b", "a", "a", "b", "a"]


async def test_an_unexpected_request_is_told_so_and_the_script_waits() -> None:
    expecting = Response(items=[message("ok")], expect="exit code 3")
    anywhere = Response(items=[message("yes")], expect_any="hello")
    async with served(expecting, anywhere) as (_, client):
        wrong = await post(client, "hello", "exit code 0")
        assert await said(client, "hello", "it gave exit code 3") == "ok"
        missing = await post(client, "bye")
        assert await said(client, "hello", "bye") == "yes"
    assert [
        (answer.status_code, answer.json()["error"]["code"]) for answer in (wrong, missing)
    ] == [
        (400, "script_mismatch"),
        (400, "script_mismatch"),
    ]
    assert wrong.json()["error"]["message"] == (
        "scripted model: response 1: the last input item should contain 'exit code 3'; "
        "it is 'message\\nuser\\ninput_text\\nexit code 0'"
    )
    assert missing.json()["error"]["message"] == (
        "scripted model: response 2: an input item should contain 'hello'; none of the 1 does"
    )


async def test_requests_to_summarise_are_answered_by_compaction_responses_alone() -> None:
    summary = Response(items=[message("summary")], compaction=True)
    async with served("one", summary, "two") as (_, client):
        answers = [await said(client), await said(client), await said(client, "a", COMPACT)]
        over = await post(client, COMPACT)
    assert answers == ["one", "two", "summary"]
    assert over.json()["error"]["code"] == "script_over"


async def test_without_compaction_responses_a_summary_is_a_response_like_others() -> None:
    async with served("one", "two") as (_, client):
        assert [await said(client, COMPACT), await said(client)] == ["one", "two"]


async def test_requests_that_hold_a_text_are_answered_by_the_responses_for_it_alone() -> None:
    def only(mark: str, text: str, *, compaction: bool = False) -> Response:
        return Response(items=[message(text)], only_for=mark, compaction=compaction)

    ours = (only("count", "c1"), only("sort", "s1"), only("count", "c2"))
    summary = only("count", "sum", compaction=True)
    async with served("one", *ours, summary, "two") as (_, client):
        asked = ["sort it", "go", "count it", "count, and more", "continue"]
        assert [await said(client, text) for text in asked] == ["s1", "one", "c1", "c2", "two"]
        assert await said(client, "count it", COMPACT) == "sum"
        over = await post(client, "count it")
    assert over.json()["error"]["message"] == (
        "scripted model: the script is over: its 2 responses only for 'count' have been given "
        "out. Add a response for this request, or set `loop` to begin again."
    )


async def test_a_call_that_holds_such_a_text_does_not_count() -> None:
    async with served("parent", Response(items=[message("child")], only_for="count")) as (
        _,
        client,
    ):
        body = request("go")
        body["input"].append(call("spawn_agent", {"message": "count"}))
        answer = await client.post("/responses", json=body)
        assert '"parent"' in answer.text
        assert await said(client, "count") == "child"


async def test_every_request_is_kept_in_order() -> None:
    async with served("a") as (server, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, client, "first")
            assert (await server.wait_request(1)).body == request("first")
        await client.get(f"{server.base_url[:-3]}/healthz?x=1", headers={"X-Two": "a"})
    first, second = server.requests
    assert (first.method, first.path) == ("POST", "/v1/responses")
    assert first.headers["content-type"] == "application/json"
    assert (second.method, second.path, second.body) == ("GET", "/healthz?x=1", None)
    assert second.headers["x-two"] == "a"


async def test_what_is_not_served_is_refused_in_words() -> None:
    async with served("a") as (server, client):
        root = server.base_url[:-3]
        health = await client.get(f"{root}/healthz")
        models = await client.get("/models")
        wrong = await client.get("/responses")
        whole = await client.post("/responses", json=request() | {"stream": False})
        broken = await client.post("/responses", content=b"{")
        nested = await client.post("/responses", content=b"[" * 100_000)
        assert await said(client) == "a"
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (models.status_code, models.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert [answer.status_code for answer in (whole, broken, nested)] == [400, 400, 400]
    assert server.requests[-2] == ReceivedRequest(
        "POST", "/v1/responses", server.requests[-2].headers, None
    )


async def test_many_clients_are_served_at_once_in_order_of_arrival() -> None:
    stalls = [Response(items=[message("x")], stall_after=1)] * 20
    async with served(*stalls, "last") as (server, client), trio.open_nursery() as nursery:
        for _ in stalls:
            nursery.start_soon(post, client)
        await server.wait_request(len(stalls))
        assert await said(client) == "last"
        nursery.cancel_scope.cancel()


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with served("a"):
            raise KeyError("mine")


async def test_run_server_announces_itself_and_serves_until_cancelled() -> None:
    announced: list[str] = []
    ready = trio.Event()

    def announce(url: str) -> None:
        announced.append(url)
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_server, Script.of("hi"), "127.0.0.1", 0, announce)
        await ready.wait()
        async with httpx.AsyncClient(
            base_url=announced[0], trust_env=False, verify=False
        ) as client:
            assert await said(client) == "hi"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", None), ("192.0.2.1", 0), ("::1", 70_000)])
async def test_an_address_that_cannot_be_had_is_named(host: str, port: int | None) -> None:
    async with serve_script(Script.of("a")) as server:
        taken = int(server.base_url.split(":")[2].removesuffix("/v1")) if port is None else port
        with raises_code(
            ErrorCode.ADDRESS_UNAVAILABLE, match=f"cannot listen on {host}, port {taken}: "
        ):
            async with serve_script(Script.of("b"), taken, host=host):
                raise AssertionError("it listens")
