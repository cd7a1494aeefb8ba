"""The splitter of event streams, against the standard and against httpx-sse."""

from itertools import pairwise

import pytest
from httpx import Response
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.model.sse import EventTooLarge, SseEvent, SseSplitter

FIELDS = (b"data", b"event", b"id", b"retry", b"datax", b"", b"unknown")
TEXTS = ("", " ", "x", " x", "  x", "a:b", "é", "\u2028", "\x85\x0c", "\x00", "7")
ENDS = (b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")

lines = st.tuples(
    st.sampled_from(FIELDS),
    st.sampled_from((b":", b": ", b"")),
    st.sampled_from(TEXTS).map(str.encode),
    st.sampled_from(ENDS),
).map(b"".join)
streams = st.lists(lines | st.binary(max_size=6), max_size=12).map(b"".join)


def split(*chunks: bytes, limit: int = 1000) -> list[SseEvent]:
    splitter = SseSplitter(limit)
    return [event for chunk in chunks for event in splitter.feed(chunk)]


def reference(stream: bytes) -> list[SseEvent]:
    """What httpx-sse reads, less what the standard drops: the mark, and events without data."""
    response = Response(
        200,
        headers={"content-type": "text/event-stream; charset=utf-8"},
        content=stream.removeprefix(b"\xef\xbb\xbf"),
    )
    events = EventSource(response).iter_sse()
    # An event without a name is a "message" there.
    return [
        SseEvent(event.event if event.event != "message" else "", event.data)
        for event in events
        if event.data
    ]


@given(streams, st.booleans())
def test_events_are_those_of_an_independent_reader(stream: bytes, marked: bool) -> None:
    stream = b"\xef\xbb\xbf" * marked + stream
    assert split(stream) == reference(stream)


@given(streams, st.booleans(), st.data())
def test_events_do_not_depend_on_where_the_bytes_are_cut(
    stream: bytes, marked: bool, data: st.DataObject
) -> None:
    stream = b"\xef\xbb\xbf" * marked + stream
    places = [0, *data.draw(st.lists(st.integers(0, len(stream)))), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(sorted(places))]
    assert split(*chunks) == split(stream)
    assert split(*(bytes([byte]) for byte in stream)) == split(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"event: a\ndata: 1\n\n", [SseEvent("a", "1")]),
        (b"data:1\ndata: 2\r\n\r\ndata:3\r\r", [SseEvent("", "1\n2"), SseEvent("", "3")]),
        (b"data: 1\n\ndata: 2\n", [SseEvent("", "1")]),
        (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [SseEvent("", "1")]),
        (b": ping\n\nevent: a\nid: 7\n\nretry: 10\n\ndata: 1\n\n", [SseEvent("", "1")]),
        ("data: a\u2028b\x85c\n\n".encode(), [SseEvent("", "a\u2028b\x85c")]),
        (b"data: \xff\n\n", [SseEvent("", "\ufffd")]),
    ],
)
def test_the_standards_corners(stream: bytes, events: list[SseEvent]) -> None:
    assert split(stream) == events


def test_an_event_is_bounded_however_it_comes() -> None:
    event = b"data: " + b"x" * 90 + b"\n\n"
    assert len(split(event * 50, limit=100)) == 50
    with pytest.raises(EventTooLarge, match="more than 90 bytes"):
        split(event, limit=90)
    with pytest.raises(EventTooLarge):
        split(*[b"x"] * 101, limit=100)
    with pytest.raises(EventTooLarge):
        split(*[b"data: 1\n"] * 20, limit=100)


def test_comments_take_no_room() -> None:
    assert split(*[b": ping\n"] * 100, b"data: 1\n\n", limit=100) == [SseEvent("", "1")]
