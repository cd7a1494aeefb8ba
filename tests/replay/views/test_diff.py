"""Two sessions part where they do, and what follows is aligned by what it says."""

from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from tests.core.play import Play, said
from tests.replay.rollouts.kit import SESSION
from tests.replay.views.kit import branch, keep, session_id
from tests.strategies import events, sessions
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import (
    CallSettled,
    ChildEnded,
    Compacted,
    ModelItemReceived,
    OpReceived,
    RecordedItem,
    SessionEvent,
    SessionForked,
    ToolFinished,
)
from turnlog.protocol.ids import EffectId, SessionId
from turnlog.protocol.ops import prompt
from turnlog.replay.views.contents import INCIDENTAL, content_differences, content_key
from turnlog.replay.views.diff import (
    Alike,
    LoadedSession,
    Pair,
    SessionDiff,
    StoredSession,
    common_beginning,
    compare,
)
from turnlog.replay.views.structure import Difference
from turnlog.runtime.store.memory.log import MemoryLog


async def parts(found: SessionDiff) -> list[tuple[str, int | None, int | None]]:
    """Return the timeline as the sequences of each place, an equal run as its first ones."""
    shown: list[tuple[str, int | None, int | None]] = []
    async for entry in found.timeline():
        if isinstance(entry, Alike):
            shown.append(("same", entry.left[0], entry.right[0]))
        else:
            left, right = entry.left, entry.right
            places = (left.sequence if left else None, right.sequence if right else None)
            shown.append((entry.change, *places))
    return shown


def loaded(play: Play, name: str = "a file") -> LoadedSession:
    return LoadedSession(name, play.records)


@given(sessions(most_facts=25), st.data())
async def test_a_fork_that_went_another_way_differs_first_after_the_cut(
    play: Play, data: st.DataObject
) -> None:
    cut = data.draw(st.sampled_from(play.ends))
    after = play.records[cut : cut + 1]
    assume(not any(isinstance(record.event, SessionForked) for record in after))  # as it does
    other = play.cut(cut)
    other.fork()
    other.open()
    log = MemoryLog()
    left = await keep(log, session_id(1), play)
    right = await branch(log, left, cut, session_id(2), other)
    found = await compare(await StoredSession.open(log, left), await StoredSession.open(log, right))
    assert found.common == cut
    assert found.first_difference == cut + 1
    assert found.relation == ("beginning" if cut == len(play.records) else "parted")
    assert found.is_different
    await verify(found, play.records, other.records)


async def verify(found: SessionDiff, left: Sequence[Recorded], right: Sequence[Recorded]) -> None:
    """Check that a timeline holds every event of both sides once, in order, and pairs rightly."""
    at_left = at_right = found.common
    async for entry in found.timeline():
        if isinstance(entry, Alike):
            assert (entry.left[0], entry.right[0]) == (at_left + 1, at_right + 1)
            for one, other in zip(
                left[at_left : entry.left[1]], right[at_right : entry.right[1]], strict=True
            ):
                assert content_differences(one.event, other.event) == []
            at_left, at_right = entry.left[1], entry.right[1]
            continue
        if entry.left is not None:
            at_left += 1
            assert entry.left == left[at_left - 1]
        if entry.right is not None:
            at_right += 1
            assert entry.right == right[at_right - 1]
        if entry.left is not None and entry.right is not None:
            assert entry.left.kind == entry.right.kind
    assert (at_left, at_right) == (len(left), len(right))


@given(sessions(most_facts=25), sessions(most_facts=25))
async def test_any_two_sessions_are_aligned_whole(one: Play, other: Play) -> None:
    found = await compare(loaded(one), loaded(other))
    assert found.common == common_prefix(one, other)
    await verify(found, one.records, other.records)
    back = await compare(loaded(other), loaded(one))
    assert (back.common, back.is_different) == (found.common, found.is_different)


def common_prefix(one: Play, other: Play) -> int:
    digests = zip(one.records, other.records, strict=False)
    return next(
        (at for at, (a, b) in enumerate(digests) if a.digest != b.digest),
        min(len(one.records), len(other.records)),
    )


def told(*texts: str, id_prefix: str = "op") -> Play:
    play = Play.started()
    for number, text in enumerate(texts):
        play.now_us += 1000
        play.send(OpReceived(f"{id_prefix}-{number}", prompt(text)))
        play.load()
        play.item(said(f"about {text}", f"{id_prefix}-msg-{number}"))
        play.complete()
    return play


async def test_a_session_is_equal_to_itself_and_nothing_is_shown() -> None:
    found = await compare(loaded(told("a")), loaded(told("a")))
    assert (found.relation, found.first_difference, found.is_different) == ("equal", None, False)
    assert await parts(found) == []


async def test_other_ids_and_times_make_no_difference_but_their_place_is_told() -> None:
    one, other = told("a", "b"), told("a", "b", id_prefix="id")
    found = await compare(loaded(one), loaded(other))
    assert (found.relation, found.is_different, found.common) == ("alike", False, 2)
    assert await parts(found) == [("same", 3, 3)]


async def test_a_turn_that_was_put_in_is_found_and_what_follows_is_the_same() -> None:
    one, other = told("a", "c"), told("a", "b", "c")
    found = await compare(loaded(one), loaded(other))
    shown = await parts(found)
    turn = (len(other.records) - len(one.records), len(one.records))
    assert {change for change, *_ in shown} == {"same", "added"}
    assert found.count("added") == turn[0]
    assert found.count("same") == len(one.records) - found.common


async def test_a_changed_text_is_shown_at_its_field() -> None:
    found = await compare(loaded(told("a", "b")), loaded(told("a", "x")))
    pairs = [entry async for entry in found.timeline() if isinstance(entry, Pair)]
    assert {pair.change for pair in pairs} == {"changed"}
    [answer] = [p for p in pairs if p.left and isinstance(p.left.event, ModelItemReceived)]
    assert answer.differences == [Difference(("item", "content", 0, "text"), "about b", "about x")]


async def test_sessions_without_anything_in_common_are_unrelated() -> None:
    one = LoadedSession("one", told("a").records[2:3])
    other = LoadedSession("other", told("a").records[3:4])
    found = await compare(one, other)
    assert (found.relation, found.first_difference) == ("unrelated", 1)
    assert (await compare(LoadedSession("nothing", []), other)).relation == "unrelated"
    assert (await compare(LoadedSession("a", []), LoadedSession("b", []))).relation == "equal"


@attrs.define
class Counting:
    """A session that counts what is read of it."""

    inner: LoadedSession
    looks: int = 0

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def events(self) -> int:
        return self.inner.events

    async def at(self, sequences: Sequence[int]) -> list[Recorded]:
        self.looks += len(sequences)
        return await self.inner.at(sequences)

    async def page(self, after: int) -> list[Recorded]:
        return await self.inner.page(after)


async def test_the_first_difference_is_found_in_few_looks() -> None:
    records = told("a").records[:1] * 10_000  # the same digest, over and over
    other = [structs.replace(record, digest=b"other") for record in records]
    for place in (0, 1, 5_000, 9_999, 10_000):
        left = Counting(LoadedSession("left", records))
        right = Counting(LoadedSession("right", records[:place] + other[place:]))
        assert await common_beginning(left, right) == place
        assert left.looks == right.looks <= 15


# --- what an event says -----------------------------------------------------------------------


@given(events(), st.data())
def test_an_event_says_the_same_under_other_ids(event: SessionEvent, data: st.DataObject) -> None:
    fields: dict[str, Any] = {
        name: f"another {name}"
        for name in event.__struct_fields__
        if name in INCIDENTAL and isinstance(getattr(event, name), str)
    }
    other = structs.replace(event, **fields)
    assert content_key(other) == content_key(event)
    assert content_differences(event, other) == []


@given(events(), events())
def test_events_with_equal_keys_have_no_differences(one: SessionEvent, other: SessionEvent) -> None:
    if content_key(one) == content_key(other):
        assert content_differences(one, other) == []
    if type(one) is not type(other):
        assert content_key(one) != content_key(other)


def item(text: str) -> ModelItemReceived:
    return ModelItemReceived(EffectId("4.model.0"), text)


def test_ids_within_json_are_passed_over_wherever_they_stand() -> None:
    texts = (
        '{"type":"function_call","id":"fc_1","call_id":"call_1","name":"ls"}',
        '{"id":"fc_2","type":"function_call","name":"ls","call_id":"call \\" 2"}',
        '{"type":"function_call","name":"ls"}',
    )
    assert len({content_key(item(text)) for text in texts}) == 1
    assert content_differences(item(texts[0]), item(texts[1])) == []


def test_a_text_that_only_looks_like_an_id_counts() -> None:
    one, other = (
        ToolFinished(EffectId("1.tool.0"), "done", "", f'"id":"{number}"') for number in (1, 2)
    )
    assert content_key(one) != content_key(other)
    said_one, said_other = (item(said(f'"id":"{number}"')) for number in (1, 2))
    assert content_key(said_one) != content_key(said_other)


def test_an_unknown_event_is_what_its_bytes_are() -> None:
    one, same, other = (UnknownEvent(900, True, body) for body in (b"\x90", b"\x90", b"\x91"))
    assert content_key(one) == content_key(same) != content_key(other)
    assert [change.path for change in content_differences(one, other)] == [("body",)]


def test_the_ids_of_children_are_incidental_and_what_a_summary_says_is_not() -> None:
    one, other = SessionId(SESSION), SessionId(SESSION[:-1] + "2")
    ended = ChildEnded(EffectId("3.child.0"), one, "completed", 9, "00", "seven")
    assert content_key(ended) == content_key(structs.replace(ended, child=other, sequence=12))
    assert content_key(ended) != content_key(structs.replace(ended, output="eight"))
    told = CallSettled(0, "a", "answered", f'{{"agent_id": "{one}"}}')
    again = structs.replace(told, output=told.output.replace(one, other))
    assert content_key(told) == content_key(again)
    assert content_differences(told, again) == []
    summary = RecordedItem("summary", '{"type":"message","content":"short"}')
    made = Compacted("manual", "summary", 4, (0, summary), 100, 50)
    changed = structs.replace(made, parts=(0, RecordedItem("summary", '{"type":"message"}')))
    assert content_key(made) != content_key(changed)
    assert content_differences(made, changed) != []
