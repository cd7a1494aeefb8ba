"""Recorded Codex sessions as scripts; tests/data/rollouts holds sessions of the real binary."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.usage import TokenUsage
from turnlog.runtime.scripted_model.rollout import (
    RecordedTurn,
    Rollout,
    load_rollout,
    parse_rollout,
)
from turnlog.runtime.scripted_model.script import Response, Script, message
from turnlog.runtime.scripted_model.stream import Names, events, frame

ROLLOUTS = Path(__file__).parents[1] / "data" / "rollouts"

# Per turn: the prompt; per response: input tokens, whether it is a compaction's, the items.
EXPECTED: dict[str, list[tuple[str, list[tuple[int, bool, list[str]]]]]] = {
    "text": [("scenario text", [(100, False, ["Plain answer."])])],
    "unicode": [
        (
            "Ünïcode 😀 prompt\nline two",
            [(100, False, ["exec_command"]), (100, False, ["Größe 日本語 😀 \u2028 done"])],
        )
    ],
    "mixed": [
        (
            "scenario mixed",
            [
                (100, False, ["reasoning", "update_plan"]),
                (100, False, ["Looking.", "exec_command", "echo"]),
                (100, False, ["apply_patch", "update_plan"]),
                (100, False, ["web_search_call", "exec_command"]),
                (100, False, ["All done."]),
            ],
        )
    ],
    "mcp": [
        (
            "scenario mcp",
            [
                (100, False, ["echo", "add"]),
                (100, False, ["boom"]),
                (100, False, ["pic"]),
                (100, False, ["mcp done"]),
            ],
        )
    ],
    "resume-parent": [
        ("first prompt", [(100, False, ["exec_command"]), (100, False, ["turn one"])]),
        ("second prompt", [(100, False, ["turn two"])]),
        ("third prompt", [(100, False, ["turn three"])]),
    ],
    "fork-child": [("fork prompt", [(100, False, ["forked answer"])])],
    "compact-parent": [
        ("first prompt", [(3000, False, ["answer one"])]),
        (
            "second prompt",
            [
                (9000, False, ["exec_command"]),
                (9000, True, ["SUMMARY of the work"]),
                (4000, False, ["answer two"]),
            ],
        ),
        ("third prompt", [(9000, False, ["answer three"])]),
        ("fourth prompt", [(9000, True, ["SUMMARY two"]), (100, False, ["answer four"])]),
    ],
    "compact-fork-child": [("fork prompt", [(100, False, ["fork of compacted"])])],
    "legacy-0.98-mixed-compacted": [
        (
            "legacy prompt",
            [
                (100, False, ["reasoning", "update_plan"]),
                (100, False, ["Looking.", "exec_command", "exec_command"]),
                (100, False, ["apply_patch", "mcp__echo__echo"]),
                (100, False, ["web_search_call"]),
            ],
        ),
        (
            "second prompt",
            [
                (9000, False, ["exec_command"]),
                (100, True, ["SUMMARY legacy"]),
                (100, False, ["after compaction"]),
            ],
        ),
    ],
}


def shape(rollout: Rollout) -> list[tuple[str, list[tuple[int, bool, list[str]]]]]:
    return [(turn.prompt, [answer(one) for one in turn.responses]) for turn in rollout.turns]


def answer(response: Response) -> tuple[int, bool, list[str]]:
    tokens = 0 if response.usage is None else response.usage.input_tokens
    return tokens, response.compaction, [name_of(item) for item in response.items]


def name_of(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return "".join(part["text"] for part in item["content"])
    return str(item.get("name", item["type"]))


def line(kind: str, payload: dict[str, Any], **more: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps({"type": kind, "payload": payload, **more}).encode() + b"\n"


def event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    return line("event_msg", {"type": kind} | fields)


def user(text: str) -> bytes:
    item = {"type": "UserMessage", "content": [{"type": "text", "text": text}]}
    return event("item_completed", item=item)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recorded_session_gives_its_turns_responses_and_items(name: str) -> None:
    rollout = load_rollout(ROLLOUTS / f"{name}.jsonl")
    assert shape(rollout) == EXPECTED[name]
    assert rollout.skipped == []
    assert all(turn.steered == [] for turn in rollout.turns)


def test_every_sample_is_expected() -> None:
    assert {path.stem for path in ROLLOUTS.iterdir()} == EXPECTED.keys()


def test_items_and_usage_are_kept_as_they_were_on_the_wire() -> None:
    turn = load_rollout(ROLLOUTS / "mixed.jsonl").turns[0]
    assert turn.responses[2] == Response(
        id="resp_0689",
        usage=TokenUsage(100, 40, 0, 10, 3),
        items=[
            {
                "type": "custom_tool_call",
                "id": "ctc_068900",
                "status": "completed",
                "call_id": "call_068900",
                "name": "apply_patch",
                "input": "*** Begin Patch\n*** Add File: hello.txt\n+Hello\n+wörld ✓\n"
                "*** End Patch\n",
            },
            {
                "type": "function_call",
                "status": "completed",
                "id": "fc_068901",
                "name": "update_plan",
                "arguments": turn.responses[2].items[1]["arguments"],
                "call_id": "call_068901",
            },
        ],
    )


def test_the_script_of_a_rollout_is_its_responses_in_order() -> None:
    rollout = load_rollout(ROLLOUTS / "compact-parent.jsonl")
    responses = [response for turn in rollout.turns for response in turn.responses]
    assert rollout.script() == Script(responses)
    assert len(responses) == 7


@given(st.data())
def test_a_file_that_was_cut_anywhere_gives_a_prefix_of_its_responses(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["mixed", "resume-parent"]))
    whole = (ROLLOUTS / f"{name}.jsonl").read_bytes()
    first = whole.index(b"\n")
    cut = data.draw(st.integers(first, len(whole)))
    torn = parse_rollout(whole[:cut], "torn.jsonl").script().responses
    expected = parse_rollout(whole, "whole.jsonl").script().responses
    assert len(torn) <= len(expected)
    assert torn[:-1] == expected[: max(len(torn) - 1, 0)]
    if torn:
        items = torn[-1].items
        assert items == expected[len(torn) - 1].items[: len(items)]


@given(
    st.lists(
        st.sampled_from(
            [b"", b"garbage", b"{}", b"\0" * 9, b'{"type": "new_kind", "payload": {}}', b"[" * 5000]
        )
    ),
    st.randoms(use_true_random=False),
)
def test_lines_that_cannot_be_read_change_nothing(noise: list[bytes], random: Any) -> None:  # noqa: ANN401
    data = (ROLLOUTS / "mixed.jsonl").read_bytes()
    lines = data.split(b"\n")
    for bad in noise:
        lines.insert(random.randrange(len(lines) + 1), bad)
    noisy = parse_rollout(b"\n".join(lines), "noisy.jsonl")
    # NULs are blank: a crash of the machine leaves some in place of a line.
    unreadable = [bad for bad in noise if bad.strip(b"\0") and b"new_kind" not in bad]
    assert noisy.turns == parse_rollout(data, "clean.jsonl").turns
    assert len(noisy.skipped) == len(unreadable)


def test_half_of_a_surrogate_pair_costs_no_line_and_is_sent_as_it_is() -> None:
    said = line("response_item", message("half: HALF")).replace(b"HALF", b"\\ud83d")
    data = event("task_started") + user("go") + said + event("task_complete")
    rollout = parse_rollout(data, "x.jsonl")
    assert (rollout.skipped, rollout.turns[0].responses[0].items) == (
        [],
        [message("half: \ud83d")],
    )
    sent = b"".join(map(frame, events(rollout.turns[0].responses[0], Names(), "model")))
    assert b'"text":"half: \\ud83d"' in sent


def test_what_the_user_says_while_a_turn_runs_is_steering() -> None:
    said = line("response_item", message("ok"))
    data = event("task_started") + user("go") + user("faster") + said + event("task_complete")
    assert parse_rollout(data, "x.jsonl").turns == [
        RecordedTurn("go", [Response(items=[message("ok")], usage=None)], ["faster"])
    ]


def test_usage_that_is_recorded_after_the_outputs_belongs_to_the_response_before() -> None:
    said = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": ""}
    usage = {"input_tokens": 5, "output_tokens": 2}
    data = (
        event("task_started")
        + user("go")
        + line("response_item", said)
        + line("response_item", output)
        + line("token_usage_record", {"response_id": "resp_1", "usage": usage})
    )
    expected = Response(items=[said], id="resp_1", usage=TokenUsage(5, 0, 0, 2, 0))
    assert parse_rollout(data, "x.jsonl").turns == [RecordedTurn("go", [expected])]


def test_a_response_without_items_is_a_response() -> None:
    record = line("token_usage_record", {"response_id": "resp_1", "usage": {}})
    turns = parse_rollout(event("task_started") + user("go") + record, "x.jsonl").turns
    assert turns == [RecordedTurn("go", [Response(id="resp_1", usage=TokenUsage())])]


def test_a_file_without_a_single_line_of_a_rollout_is_refused() -> None:
    with raises_code(
        ErrorCode.SCRIPT_INVALID, match=r"^notes\.jsonl: no line is a rollout's; expected"
    ):
        parse_rollout(b'hello\n{"a": 1}\n', "notes.jsonl")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with raises_code(ErrorCode.INPUT_UNREADABLE, match="Is a directory"):
        load_rollout(tmp_path)
