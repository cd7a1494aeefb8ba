"""What was done is told after a compaction as the log has it, whatever the summary leaves out."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.core.compacting import ANSWER, limited, told
from tests.core.play import Play, function_call
from turnlog.actors.core import texts
from turnlog.actors.core.history import LEDGER, OUTPUT, History, Part
from turnlog.actors.core.ledger import MOST_BYTES, ledger_of, note
from turnlog.actors.core.rebuild import rebuild
from turnlog.protocol.calls import (
    CommandPreview,
    CommandReport,
    FileChange,
    PatchReport,
    PlanPreview,
    PlanStep,
    Preview,
    ToolPlan,
)
from turnlog.protocol.events import ToolFinished
from turnlog.protocol.ids import EffectId
from turnlog.protocol.items import (
    CustomToolCall,
    FunctionCall,
    Message,
    message_text,
    read_item,
    text_message,
)
from turnlog.protocol.ops import Compact

CALL: Final = FunctionCall("c", "grep", '{"for":\n "x"}')
PATCH: Final = PatchReport((FileChange("/w/a.py", "add"), FileChange("/w/b.py", "delete")), True)


def reading(path: str) -> Preview:
    return CommandPreview(("bash", "-lc", f"cat {path}"), "/w")


def test_a_note_says_what_a_call_did() -> None:
    steps = (PlanStep("look", "completed"), PlanStep("fix\nit", "in_progress"), PlanStep("test"))
    plan = ToolPlan("update_plan", preview=PlanPreview(steps))
    failed = CommandReport(2, 5)
    assert [
        note(CALL, plan, "done", None),
        note(CALL, ToolPlan("apply_patch"), "done", PATCH),
        note(CALL, ToolPlan("exec_command", preview=reading("a.py")), "done", failed),
        note(CALL, ToolPlan("x", preview=CommandPreview(("ls", "-a"), "/")), "done", failed),
        note(CALL, ToolPlan("grep"), "done", None),
        note(CustomToolCall("c", "draw", "a  cat"), None, "done", None),
        note(CustomToolCall("c", "draw", "x" * 1000), None, "done", None),
        note(CALL, ToolPlan("exec_command", preview=reading("a.py")), "stopped"),
    ] == [
        "plan: [completed] look; [in_progress] fix it; [pending] test",
        "changed /w/a.py, /w/b.py",
        "ran cat a.py (exit 2)",
        "ran ls -a (exit 2)",
        'called grep {"for": "x"} (done)',
        "called draw a cat (done)",
        f"called draw {'x' * 240}… and 760 characters more (done)",
        'called grep {"for": "x"} (stopped)',
    ]


def test_a_note_of_many_things_names_the_first_and_counts_the_others() -> None:
    files = [FileChange(f"/w/{'d' * 60}/{number}.py", "update") for number in range(100)]
    done = note(CALL, ToolPlan("apply_patch"), "done", PatchReport(tuple(files), True))
    assert done.startswith(f"changed {files[0].path}, {files[1].path}, ")
    assert done.endswith(", … and 92 more")
    steps = tuple(PlanStep("step " * 30) for _ in range(100))
    plan = note(CALL, ToolPlan("update_plan", preview=PlanPreview(steps)), "done", None)
    assert plan.endswith("; … and 97 more")
    assert max(len(done), len(plan)) < 700


def test_a_patch_that_was_not_applied_changed_nothing() -> None:
    refused = PatchReport(PATCH.changes, applied=False)
    assert note(CALL, ToolPlan("patch"), "failed", refused).startswith("called grep")


def did(play: Play, *previews: Preview) -> None:
    """Live through a turn whose calls have these previews, and enough to be summed up."""
    play.ask("go")
    for number, preview in enumerate(previews):
        play.item(function_call(f"c{play.state.head}"), ToolPlan("exec_command", preview=preview))
        dispatched = EffectId(f"{play.state.facts}.tool.{number}")
        assert dispatched in play.state.outstanding
        play.send(ToolFinished(dispatched, "done", "", ANSWER * 4, report=CommandReport(0, 1)))
    play.complete()
    play.complete()


def compact(play: Play) -> str:
    """Have it summed up; return the ledger."""
    play.op(Compact())
    play.load()
    play.summarize("in short")
    kinds = [part.kind for part in play.state.history.parts]
    assert LEDGER in kinds
    return told(play)[kinds.index(LEDGER)]


def test_each_is_told_once_with_how_often_it_was_done_over_all_compactions() -> None:
    play = Play.started(limits=limited())
    did(play, reading("a.py"), reading("b.py"), reading("a.py"))
    first = ("ran cat b.py (exit 0)", "ran cat a.py (exit 0) (2 times)")
    assert compact(play) == texts.LEDGER.format(lines="\n".join(first))
    did(play, reading("a.py"), reading("c.py"))
    second = ("ran cat b.py (exit 0)", "ran cat a.py (exit 0) (3 times)", "ran cat c.py (exit 0)")
    assert compact(play) == texts.LEDGER.format(lines="\n".join(second))
    assert rebuild(play.records) == play.state


def test_only_the_last_plan_is_told_and_it_comes_last() -> None:
    play = Play.started(limits=limited())
    did(play, PlanPreview((PlanStep("look"),)), reading("a.py"))
    did(play, PlanPreview((PlanStep("look", "completed"),)), reading("b.py"))
    lines = ("ran cat a.py (exit 0)", "ran cat b.py (exit 0)", "plan: [completed] look")
    assert compact(play) == texts.LEDGER.format(lines="\n".join(lines))


def test_nothing_that_was_undone_is_told() -> None:
    play = Play.started(limits=limited())
    did(play, reading("a.py"), reading("a.py"))
    did(play, reading("b.py"))
    play.undo()
    assert compact(play) == texts.LEDGER.format(lines="ran cat a.py (exit 0) (2 times)")


def test_a_call_that_a_crash_cut_off_is_told_as_such() -> None:
    play = Play.started(limits=limited())
    did(play, reading("a.py"), reading("a.py"))
    play.ask("deploy")
    play.item(function_call("c"), ToolPlan("exec_command", preview=reading("b.py")))
    play.complete()
    play.start(0)
    play.open()
    play.complete()
    lines = ("ran cat a.py (exit 0) (2 times)", "called exec_command {} (stopped)")
    assert compact(play) == texts.LEDGER.format(lines="\n".join(lines))
    assert rebuild(play.records) == play.state


def test_what_stays_as_it_is_after_a_cut_is_not_told_twice() -> None:
    play = Play.started(limits=limited())
    for name in "abcde":
        did(play, reading(name))
    play.op(Compact())
    play.load()
    play.summarize("")
    play.summarize("")
    said, left = told(play), "\n".join(f"ran cat {name} (exit 0)" for name in "abcd")
    assert texts.LEDGER.format(lines=left) in said
    assert sum(part.startswith("function_call_output ") for part in said) == 1


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"])), min_size=1), st.data())
def test_a_ledger_is_read_back_whole_and_is_a_tenth_at_most(
    notes: list[str], data: st.DataObject
) -> None:
    history = History()
    for line in notes:
        words = data.draw(st.integers(0, 20_000))
        text = text_message("user", "x" * words)
        history.add(Part(text, (1, 0), OUTPUT, line and f"ran {line}"))
    made = ledger_of(history, len(notes))
    if made is None:
        return
    item = read_item(made.item_json)
    assert isinstance(item, Message)
    assert len(message_text(item).encode()) <= min(MOST_BYTES, history.size // 10)
    again = History()
    again.add(Part(made.item_json, (2, 0), LEDGER))
    again.add(Part(text_message("user", "x" * history.size), (2, 1), OUTPUT))
    assert ledger_of(again, 2) == made
