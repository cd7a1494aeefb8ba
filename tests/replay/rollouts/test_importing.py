"""Recorded rollouts as sessions: the conversation, the counts, and what is said of the rest."""

import json
from pathlib import Path

import pytest

from tests.replay.rollouts import kit
from tests.replay.rollouts.kit import answered, call, completed, event, item, message, said, started
from turnlog.actors.core.texts import TURN_ABORTED
from turnlog.protocol.calls import CommandPreview, CommandReport
from turnlog.protocol.events import (
    ContextLoaded,
    ModelCompleted,
    ModelItemReceived,
    OpReceived,
    SessionStarted,
    ToolFinished,
    ToolStarted,
    TurnEnded,
)
from turnlog.protocol.ops import Shutdown, UserTurn
from turnlog.protocol.settings import SandboxPolicy
from turnlog.protocol.usage import TokenUsage
from turnlog.replay.rollouts.importing import Import, import_rollout
from turnlog.replay.rollouts.parents import finder, whole
from turnlog.replay.rollouts.reading import Note, Skipped, parse_rollout, read_rollout

COMPACTED = {"compact-parent", "compact-fork-child", "legacy-0.98-mixed-compacted"}
PLAIN = [path for path in kit.RECORDED if path.stem not in COMPACTED]


def endings(found: Import) -> list[str]:
    events = [record.event for record in found.newest.records]
    return [e.status for e in events if isinstance(e, TurnEnded)]


def name(path: Path) -> str:
    return path.stem


# --- what was recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PLAIN, ids=name)
def test_the_conversation_is_the_rollouts(path: Path) -> None:
    assert kit.history(kit.imported(path)) == kit.told(path)


@pytest.mark.parametrize("path", kit.RECORDED, ids=name)
def test_the_counts_agree_with_the_file(path: Path) -> None:
    file = kit.read_whole(path)
    report = kit.imported(path).report
    items = [line for line in file.lines if line.type == "response_item"]
    totals = [
        line.payload["info"]["total_token_usage"]
        for line in file.lines
        if line.payload.get("type") == "token_count" and line.payload["info"]
    ]
    assert report.items == len(items)
    assert report.usage.total_tokens == (totals[-1]["total_tokens"] if totals else 0)
    assert report.skipped == ()
    assert report.lines == file.count
    passed = sum(report.events_passed.values())
    assert len(file.lines) == report.items + report.events_mapped + passed


@pytest.mark.parametrize("path", kit.RECORDED, ids=name)
def test_every_call_has_one_output(path: Path) -> None:
    for made in kit.imported(path).sessions:
        parts = [json.loads(part) for part in made.history]
        calls = [
            part["call_id"]
            for part in parts
            if part["type"].endswith("_call") and "call_id" in part
        ]
        outputs = [part["call_id"] for part in parts if part["type"].endswith("_output")]
        assert sorted(calls) == sorted(outputs)


def test_an_import_is_a_pure_function_of_the_file() -> None:
    file = kit.read_whole(kit.named("session"))
    assert import_rollout(file) == import_rollout(file)


def test_a_session_has_the_rollouts_id_settings_and_times() -> None:
    found = kit.imported(kit.named("session"))
    records = found.newest.records
    start = records[0].event
    assert isinstance(start, SessionStarted)
    assert start.session == found.report.session == read_rollout(kit.named("session")).session
    assert (start.settings.cwd, start.settings.model) == ("/home/user/project", "gpt-5.5")
    assert start.settings.model_provider == "local"
    assert start.settings.approval_policy == "never"
    assert start.settings.sandbox == SandboxPolicy(mode="danger-full-access")
    assert start.settings.base_instructions == "<instructions>"
    assert start.originator == "codex_exec"
    file = kit.read_whole(kit.named("session"))
    assert (records[0].time_us - file.lines[0].time_us) // 1_000_000 in (0, -1)
    assert records[-1].time_us == file.lines[-1].time_us
    last = records[-2].event
    assert isinstance(last, OpReceived)
    assert last.op == Shutdown()


def test_a_command_keeps_what_is_known_of_it() -> None:
    events = [record.event for record in kit.imported(kit.named("session")).newest.records]
    asked = next(e for e in events if isinstance(e, ModelItemReceived) and e.plan)
    assert asked.plan is not None
    assert asked.plan.preview == CommandPreview(
        ("/bin/bash", "-c", "echo one; exit 3"), "/home/user/project"
    )
    ended = next(e for e in events if isinstance(e, ToolFinished))
    assert isinstance(ended.report, CommandReport)
    assert (ended.outcome, ended.report.exit_code, ended.output) == ("failed", 3, "one\n")
    assert ended.preamble.endswith("\nOutput:\n")


def test_an_interrupted_turn_is_one_here() -> None:
    found = kit.imported(kit.named("interrupted"))
    assert endings(found) == ["interrupted", "completed"]
    assert message("user", TURN_ABORTED) in kit.history(found)


def test_a_failed_turn_is_one_here() -> None:
    assert endings(kit.imported(kit.named("failed"))) == ["failed", "completed"]


# --- forks ----------------------------------------------------------------------------------------


def test_a_fork_begins_with_what_its_parent_was_then() -> None:
    parent, child = kit.imported(kit.named("session")), kit.imported(kit.named("fork"))
    shared = len(parent.newest.history)
    assert list(child.newest.history[:shared]) == list(parent.newest.history)
    assert child.report.forked_from == parent.report.session
    assert child.report.session != parent.report.session


def test_what_the_parent_did_later_is_not_the_forks(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent.jsonl", tmp_path / "child.jsonl"
    child.write_bytes(kit.named("fork").read_bytes())
    lines = [json.loads(one) for one in kit.named("session").read_text().split("\n") if one]
    later = [started("t9"), said("later"), answered("much later"), completed("t9")]
    lines += [kit.line(kind, payload, 38 + n) for n, (kind, payload) in enumerate(later)]
    parent.write_bytes(kit.text(lines))
    found = import_rollout(whole(read_rollout(child), finder({}, child)))
    assert found.newest.history == kit.imported(kit.named("fork")).newest.history


def test_a_fork_without_its_parent_is_imported_and_said_to_lack_it(tmp_path: Path) -> None:
    path = tmp_path / "alone.jsonl"
    path.write_bytes(kit.named("fork").read_bytes())
    found = kit.checked(import_rollout(whole(read_rollout(path), finder({}, path))))
    assert found.report.turns == 1
    assert [part.get("role") for part in kit.history(found)] == ["developer", "user", "assistant"]
    assert [note.text for note in found.report.notes if "was not found" in note.text]


def test_a_parent_that_was_given_need_not_lie_beside_its_fork(tmp_path: Path) -> None:
    path = tmp_path / "alone.jsonl"
    path.write_bytes(kit.named("fork").read_bytes())
    parent = read_rollout(kit.named("session"))
    given = {str(parent.session): parent}
    found = import_rollout(whole(read_rollout(path), finder(given, path)))
    assert found.newest.history == kit.imported(kit.named("fork")).newest.history


def test_a_parent_is_found_in_the_folders_of_codex(tmp_path: Path) -> None:
    parent, child = read_rollout(kit.named("session")), kit.named("fork")
    days = [tmp_path / "sessions/2026/11/21", tmp_path / "sessions/2026/11/22"]
    for day in days:
        day.mkdir(parents=True)
    beside = days[0] / f"rollout-2026-11-21T09-00-00-{parent.session}.jsonl"
    beside.write_bytes(kit.named("session").read_bytes())
    path = days[1] / "rollout-2026-11-22T09-00-00.jsonl"
    path.write_bytes(child.read_bytes())
    found = import_rollout(whole(read_rollout(path), finder({}, path)))
    assert found.newest.history == kit.imported(child).newest.history


def test_a_fork_of_itself_is_no_endless_search(tmp_path: Path) -> None:
    base = {"thread_id": kit.SESSION, "end_ordinal_exclusive": 5}
    path = tmp_path / "ouroboros.jsonl"
    meta = {"id": kit.SESSION, "history_base": base}
    path.write_bytes(kit.text([kit.line("session_meta", meta, 0), kit.line(*said("hi"), 1)]))
    kit.checked(import_rollout(whole(read_rollout(path), finder({}, path))))


# --- compactions ----------------------------------------------------------------------------------


def test_each_window_between_compactions_is_a_session_of_its_own() -> None:
    found = kit.imported(kit.named("compact-parent"))
    assert len(found.sessions) == 3
    assert [made.session for made in found.sessions[:-1]] == list(found.report.earlier)
    assert len({made.session for made in found.sessions}) == 3
    first, second, last = ([json.loads(p) for p in s.history] for s in found.sessions)
    assert first[-2]["call_id"] == first[-1]["call_id"]  # it was compacted after a call
    lines = [json.loads(one) for one in kit.named("compact-parent").read_text().split("\n") if one]
    kept = [one["payload"]["replacement_history"] for one in lines if one["type"] == "compacted"]
    for window, replaced in zip((second, last), kept, strict=True):
        texts = [part["text"] for one in replaced for part in one["content"]]
        begin = [part["text"] for one in window[1:] for part in one["content"]][: len(texts)]
        assert begin == texts


def test_an_old_compaction_leaves_context_user_messages_and_summary() -> None:
    found = kit.imported(kit.named("legacy-0.98-mixed-compacted"))
    parts = kit.history(found)
    begins = [part["content"][0]["text"][:22] for part in parts]
    assert begins == [
        "<instructions>",
        "<permissions instructi",
        "# AGENTS.md instructio",
        "<environment_context>\n",
        "legacy prompt",
        "second prompt",
        "Another language model",
        "after compaction",
    ]


# --- what is not as it should be ------------------------------------------------------------------


def test_a_rollout_cut_anywhere_is_a_session() -> None:
    for path in (
        kit.named("mixed"),
        kit.named("interrupted"),
        kit.named("legacy-0.98-mixed-compacted"),
    ):
        lines = path.read_bytes().split(b"\n")
        for count in range(1, len(lines)):
            found = kit.checked(import_rollout(parse_rollout(b"\n".join(lines[:count]), "cut")))
            assert found.report.lines == count
            parts = [json.loads(part) for part in found.newest.history]
            calls = [
                part for part in parts if part["type"] in ("function_call", "custom_tool_call")
            ]
            outputs = [part for part in parts if part["type"].endswith("_output")]
            assert len(calls) == len(outputs)


def test_a_rollout_that_lost_any_one_line_is_a_session() -> None:
    lines = kit.named("mixed").read_bytes().split(b"\n")
    for lost in range(len(lines)):
        left = [one for number, one in enumerate(lines) if number != lost]
        kit.checked(import_rollout(parse_rollout(b"\n".join(left), "lost")))


def test_a_call_without_an_output_is_told_as_codex_tells_it() -> None:
    found = kit.of(started(), said("go"), item(call("a")), said("and now?"), answered("well"))
    assert kit.history(found)[-3:] == [
        {"type": "function_call_output", "call_id": "a", "output": "aborted"},
        message("user", "and now?"),
        message("assistant", "well"),
    ]


def test_outputs_without_a_call_and_second_calls_are_left_out() -> None:
    found = kit.of(
        started(),
        said("go"),
        item(call("a")),
        item(call("a")),
        item(kit.output("a")),
        item(kit.output("b")),
        item(kit.output("a", "again")),
        answered("done"),
        completed(),
    )
    assert [(one.line, one.reason) for one in found.report.skipped] == [
        (5, "the call a is there already"),
        (7, "an output without a call"),
        (8, "a second output of its call"),
    ]
    assert kit.history(found) == [
        message("user", "go"),
        call("a"),
        kit.output("a"),
        message("assistant", "done"),
    ]


def test_the_parts_of_a_turn_keep_their_order() -> None:
    developer = item(message("developer", "mind the gap"))
    found = kit.of(
        started(),
        item(message("developer", "be brief"), "turnlog.tone"),
        said("go"),
        said("and quickly"),
        item(call("a")),
        item(call("b")),
        item(kit.output("b", "second")),
        item(kit.output("a", "first")),
        developer,
        answered("half"),
        said("wait"),
        answered("whole"),
        completed(),
    )
    assert kit.history(found) == [
        message("developer", "be brief"),
        message("user", "go"),
        message("user", "and quickly"),
        call("a"),
        call("b"),
        kit.output("a", "first"),  # in the order of the calls
        kit.output("b", "second"),
        message("developer", "mind the gap"),
        message("assistant", "half"),
        message("user", "wait"),
        message("assistant", "whole"),
    ]
    assert endings(found) == ["completed"]


def test_what_only_newer_models_have_is_kept() -> None:
    search: kit.Json = {
        "type": "tool_search_call",
        "call_id": "s",
        "execution": "client",
        "arguments": {},
    }
    result: kit.Json = {"type": "tool_search_output", "call_id": "s", "tools": []}
    tools = {"type": "additional_tools", "role": "developer", "tools": [{"name": "exec"}]}
    found = kit.of(
        started(), item(tools), said("go"), item(search), item(result), answered("found"),
        completed(),
    )  # fmt: skip
    assert kit.history(found) == [
        message("user", "go"),
        search,
        result,
        message("assistant", "found"),
    ]
    events = [record.event for record in found.newest.records]
    loaded = next(e for e in events if isinstance(e, ContextLoaded))
    assert json.loads(loaded.tools_json) == [{"name": "exec"}]


def test_an_old_shell_call_is_the_call_of_a_function() -> None:
    action = {"type": "exec", "command": ["ls"]}
    shell = {"type": "local_shell_call", "call_id": "a", "status": "completed", "action": action}
    found = kit.of(started(), said("go"), item(shell), item(kit.output("a")), answered("done"))
    assert kit.history(found)[1:3] == [
        {**call("a", "local_shell"), "arguments": json.dumps(action)},
        kit.output("a"),
    ]


def test_turns_that_were_taken_back_are_left_out() -> None:
    found = kit.of(
        *(started("t1"), said("one"), answered("first"), completed("t1")),
        *(started("t2"), said("two"), answered("second"), completed("t2")),
        event("thread_rolled_back", num_turns=1),
        *(started("t3"), said("three"), answered("third"), completed("t3")),
    )
    assert [part["content"][0]["text"] for part in kit.history(found)] == [
        *("one", "first", "three", "third"),
    ]
    text = "1 of 1 turns before it were taken back by the user, and are left out"
    assert found.report.notes == (Note(10, text, "by-hand.jsonl"),)


def test_calls_run_also_where_the_policy_would_ask() -> None:
    found = kit.of(
        started(),
        ("turn_context", {"cwd": "/", "model": "m", "approval_policy": "untrusted"}),
        said("go"),
        item(call("a")),
        item(kit.output("a")),
        answered("done"),
        completed(),
    )
    events = [record.event for record in found.newest.records]
    assert sum(isinstance(e, ToolStarted) for e in events) == 1
    assert kit.history(found)[1:3] == [call("a"), kit.output("a")]


def test_a_change_of_settings_is_part_of_the_prompt_that_it_comes_with() -> None:
    policy = {"type": "workspace-write", "writable_roots": ["/data"], "network_access": True}
    found = kit.of(
        *(started("t1"), ("turn_context", {"cwd": "/", "model": "one"}), said("a"), answered("b")),
        completed("t1"),
        started("t2"),
        ("turn_context", {"cwd": "/", "model": "two", "effort": "high", "sandbox_policy": policy}),
        *(said("c"), answered("d"), completed("t2")),
    )
    ops = [r.event.op for r in found.newest.records if isinstance(r.event, OpReceived)]
    second = ops[1]
    assert isinstance(second, UserTurn)
    assert (second.update.model, second.update.reasoning_effort) == ("two", "high")
    assert second.update.sandbox == SandboxPolicy("workspace-write", ("/data",), True)


def test_usage_of_old_rollouts_is_counted_once() -> None:
    def count(total: int, last: int) -> tuple[str, kit.Json]:
        usage = {"input_tokens": last, "output_tokens": 0}
        info = {"total_token_usage": {"input_tokens": total}, "last_token_usage": usage}
        return event("token_count", info=info)

    found = kit.of(
        said("go"), item(call("a")), count(5, 5), item(kit.output("a")), count(5, 5),
        answered("done"), count(9, 4), paginated=False,
    )  # fmt: skip
    events = [record.event for record in found.newest.records]
    usages = [e.usage for e in events if isinstance(e, ModelCompleted)]
    assert usages == [TokenUsage(5), TokenUsage(4)]


def test_a_rollout_of_nothing_but_its_first_line_is_an_empty_session() -> None:
    found = kit.of()
    assert (found.report.turns, found.newest.history) == (0, ())


def test_lines_of_unknown_types_are_reported_with_their_number() -> None:
    found = kit.of(started(), said("go"), ("a_newer_type", {"x": 1}), answered("done"))
    assert found.report.skipped == (
        Skipped(4, "lines of the type 'a_newer_type' are not known", "by-hand.jsonl"),
    )
