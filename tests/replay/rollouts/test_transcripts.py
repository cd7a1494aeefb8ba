"""Transcripts: what a person reads of a session, and what none of it can do to the page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.core.play import Play, function_call, said
from tests.replay.rollouts import kit
from tests.strategies import sessions
from turnlog.actors.core.texts import TURN_ABORTED
from turnlog.protocol.calls import CommandPreview, CommandReport, ToolPlan
from turnlog.protocol.events import ToolFinished, UserShellAsked
from turnlog.protocol.ops import (
    Compact,
    ImageInput,
    Redo,
    Review,
    RunUserShellCommand,
    TextInput,
    Undo,
    UserInput,
)
from turnlog.replay.transcript.html import html
from turnlog.replay.transcript.markdown import markdown

_VOID = {"meta", "img"}
_ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "nav", "ol", "li", "a"),
    *("span", "h1", "h2", "small", "dl", "div", "dt", "dd", "section", "article", "b", "time"),
    *("em", "p", "strong", "details", "summary", "code", "pre", "img"),
}


class Page(HTMLParser):
    """Reads a page as a browser would, and checks that it is well formed and harmless."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert {link.removeprefix("#") for link in self.links} <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _ALLOWED, tag
        named = dict(attrs)
        assert not [name for name in named if name.startswith("on")]
        assert (named.get("src") or "data:image/").startswith("data:image/")
        assert (named.get("href") or "#").startswith("#")
        if "id" in named:
            self.ids.append(named["id"] or "")
        if "href" in named:
            self.links.append(named["href"] or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@settings(max_examples=50)
@given(sessions())
def test_any_session_is_a_well_formed_page(play: Play) -> None:
    text = html(play.records)
    page = Page(text)
    assert sum(one.startswith("turn-") for one in page.ids) >= play.state.turns
    text.encode()
    assert html(play.records) == text


@settings(max_examples=50)
@given(sessions())
def test_any_session_is_a_markdown_transcript(play: Play) -> None:
    text = markdown(play.records)
    assert text.count("\n## Turn ") == play.state.turns
    assert markdown(play.records) == text


HOSTILE = "</pre></details><script>alert(1)</script>\n# Turn 99\n````\n\x1b[31m\x00 & \"'>"


def hostile() -> Play:
    play = Play.started()
    play.op(UserInput((TextInput(HOSTILE), ImageInput('x" onerror="alert(1)'))))
    play.load()
    play.item(function_call("a"), ToolPlan(HOSTILE, parallel=True))
    play.item(said(HOSTILE))
    play.complete()
    play.finish(0, HOSTILE * 40)
    play.complete()
    return play


def test_nothing_that_was_said_leaves_its_place_on_the_page() -> None:
    text = html(hostile().records)
    page = Page(text)
    shown = "".join(page.texts)
    assert "<script>alert(1)</script>" in shown
    assert "script" not in page.open
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "default-src 'none'" in text


def test_nothing_that_was_said_leaves_its_place_in_markdown() -> None:
    outside: list[str] = []
    fence = ""
    for line in markdown(hostile().records).split("\n"):
        if line.startswith("```") and not fence:
            fence = line.removesuffix("text")
        elif line == fence:
            fence = ""
        elif not fence and not line.startswith(">"):
            outside.append(line)
    assert fence == ""
    assert [line for line in outside if line.startswith("## ")] == ["## Turn 1"]
    assert not [line for line in outside if "<script>" in line and "`" not in line]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a List<int> of 1 < 2", "a List\\<int> of 1 < 2"),
        ("<!-- and", "\\<!-- and"),
        ("`<b>` and ``a`<b>`` and <b>", "`<b>` and ``a`<b>`` and \\<b>"),
        ("\\<b> \\\\<b> \\`<b>`", "\\<b> \\\\\\<b> \\`\\<b>`"),
        ("```html\n<b>\n```\n<b>", "```html\n> <b>\n> ```\n> \\<b>"),
        ("~~~\n<b>\n```\n<i>\n~~~~\n<b>", "~~~\n> <b>\n> ```\n> <i>\n> ~~~~\n> \\<b>"),
        ("```a`\n<b>", "```a`\n> \\<b>"),
    ],
)
def test_html_in_what_was_said_is_text_in_markdown(text: str, shown: str) -> None:
    play = Play.started()
    play.op(UserInput((TextInput(text),)))
    play.load()
    assert f"**User**\n\n> {shown}\n" in markdown(play.records)


def test_a_recorded_session_reads_as_it_was() -> None:
    text = markdown(kit.imported(kit.named("session")).newest.records)
    begin = text.index("**User**")
    assert text[begin : begin + 1000].startswith(
        "**User**\n\n> make a file\n\n*Reasoning*\n\n> **Look first**\n\n"
        "**Tool** `exec_command`: `echo one; exit 3` (exit 3, 0 ms)"
    )
    assert "*2026-11-21 15:15:56 UTC, completed after" in text


@pytest.mark.parametrize("path", kit.RECORDED, ids=lambda path: path.stem)
def test_all_that_was_said_is_on_the_page(path: Path) -> None:
    for made in kit.imported(path).sessions:
        shown = "".join(Page(html(made.records)).texts)
        for part in map(json.loads, made.history):
            pieces: list[dict[str, str]] = part.get("content") or []
            for piece in pieces:
                words = piece.get("text", "")
                assert words in shown or words == TURN_ABORTED


def test_what_is_no_talk_with_the_model_is_readable() -> None:
    play = Play.started()
    play.talk("go", "a long story " * 50)
    play.op(Compact())
    play.load()
    play.summarize("all that was")
    play.op(RunUserShellCommand("make it"))
    play.load()
    shell = play.the(UserShellAsked).effect
    play.send(ToolFinished(shell, "done", "", "made", report=CommandReport(0, 1500)))
    play.op(Review("look at it"))
    play.load()
    play.end_child(
        '{"findings": [{"title": "Close the file", "body": "It leaks.", "priority": 1}], '
        '"overall_correctness": "patch is incorrect"}'
    )
    play.op(Undo(1))
    play.load()
    play.restore()
    play.op(Redo())
    play.load()
    play.restore()
    text = markdown(play.records)
    for expected in (
        "## Turn 2: compaction",
        "**The conversation was summed up as its user wished: ",
        "all that was",
        "## Turn 3: user's command",
        "**Tool** `user's command`: `make it` (exit 0, 1.5 s)\n\n```text\nmade\n```",
        "## Turn 4: review",
        "(completed)\n\n```text\nlook at it\n```\n\n```text\npatch is incorrect\n\n"
        "- [P1] Close the file\n  It leaks.\n```",
        "## Turn 5: undo",
        "*Turns dropped: 1 turn*",
        "## Turn 6: redo",
        "*Turns dropped: an undo was taken back*",
    ):
        assert expected in text
    Page(html(play.records))


def test_a_question_is_shown_with_its_answer() -> None:
    play = Play.started()
    play.ask("go")
    plan = ToolPlan(
        "exec_command",
        wants="outside",
        reason="it needs the network",
        preview=CommandPreview(("bash", "-c", "make install"), "/work"),
    )
    play.item(function_call("a"), plan)
    play.complete()
    asked = "**Question** May exec\\_command run without the sandbox? `make install` "
    asked += "it needs the network "
    assert f"{asked}*not answered*" in markdown(play.records)
    play.answer("approved_for_session")
    assert f"{asked}*approved, also for later*" in markdown(play.records)
    Page(html(play.records))
