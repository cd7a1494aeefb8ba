"""Whoever said it, no terminal obeys it; and no pipe or file loses a byte of it."""

import re
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.harness import User, in_thread
from tests.cli.terminal import in_a_terminal
from turnlog.frontends.cli.output.terminal import CLEAR_LINE, shown, style, verbatim
from turnlog.runtime.scripted_model.script import Response, call, custom, message

OBEYED = "\x1b]0;title\x07\x1b[5mblink\x1b[8m\x9b2J\x7f\x08\r\u202eesrever\u2066\u200b"
TITLE = "\x1b]2;t\x07\x9b5m"
FILE = "a\x1b[5mb\u202e.txt"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f]")
OURS = re.compile(r"\x1b\[(?:0|1|2|7|3[1-7]|9[0-7])m|\x1b\[1G|\x1b\[2K")
FORMS = ("turnlog", "codex", "markdown", "html")

texts = st.text(st.sampled_from([*OBEYED, "m", ";", "0", "\n", "\t", "é", "\u200d"]))


@given(texts, st.booleans())
def test_what_is_shown_holds_nothing_that_a_terminal_obeys(text: str, styles: bool) -> None:
    found = shown(text, styles=styles)
    assert CONTROLS.findall(found) == []
    assert found.count("\n") == text.count("\n")
    assert shown(found, styles=styles) == found


@given(texts)
def test_our_own_styles_are_obeyed_around_any_text_and_can_be_left_out(text: str) -> None:
    styled = style(text, fg="red") + CLEAR_LINE
    inner = shown(text, styles=False)
    begin, end = ("\x1b[31m", "\x1b[0m") if text else ("", "")
    assert shown(styled, styles=True) == f"{begin}{inner}{end}\x1b[1G\x1b[2K"
    assert shown(styled, styles=False) == inner
    assert verbatim(styled.encode(), styles=False) == text.encode()
    assert verbatim(styled.encode(), styles=True) == f"{begin}{text}{end}\x1b[1G\x1b[2K".encode()


def test_nothing_that_is_printed_is_styled_past_the_doors() -> None:
    """What `click.style` makes is not marked as ours: a terminal would show it as text."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path("frontends").rglob("*.py")
        for line in path.read_text().splitlines()
        if path.name != "terminal.py" and re.search(r"click\.s(tyle|echo)\(|from rich", line)
    ]
    assert [line for line in found if "rich.cells" not in line] == []


@pytest.fixture
def hostile(user: User) -> User:
    """Return a user whose configuration and files try to be obeyed."""
    (user.cwd / FILE).write_text(f"{OBEYED}\n")
    (user.cwd / "AGENTS.md").write_text(OBEYED)
    return user


SAY = call("exec_command", {"cmd": f"printf '%s' '{OBEYED}'; exit 3", "justification": OBEYED})
PATCH = custom(
    "apply_patch",
    f"*** Begin Patch\n*** Add File: {FILE}.new\n+{OBEYED}\n*** End Patch",
)
PLAN = call("update_plan", {"plan": [{"step": OBEYED, "status": "pending"}]})
REFUSAL = Response(status=400, body=f'{{"error": {{"message": "{TITLE}"}}}}')


async def check(user: User, *commands: tuple[str, ...]) -> None:
    """Run commands on terminals, two at a time, and look at each byte that these are sent."""
    wrong: list[tuple[tuple[str, ...], list[str]]] = []
    silent: list[tuple[str, ...]] = []
    room = trio.CapacityLimiter(2)

    async def look(words: tuple[str, ...]) -> None:
        async with room:
            _, written = await in_thread(lambda: in_a_terminal(user, *words))
        if found := CONTROLS.findall(OURS.sub("", written)):
            wrong.append((words, found))
        if not written.strip():
            silent.append(words)

    async with trio.open_nursery() as nursery:
        for words in commands:
            nursery.start_soon(look, words)
    assert (wrong, silent) == ([], [])


async def record(user: User) -> tuple[str, str]:
    """Record a session full of hostile text, and a fork of it that continued; return their ids."""
    async with user.model([SAY], [PATCH], [PLAN], [message(OBEYED)], loop=True):
        first = (await user.run("exec", "--json", OBEYED)).thread
        await user.run("name", first, TITLE)
        second = (await user.run("exec", "--json", "fork", first, f"more {OBEYED}")).thread
    return first, second


async def test_commands_that_look_at_a_session_show_it_and_the_terminal_obeys_nothing(
    hostile: User,
) -> None:
    first, second = await record(hostile)
    await hostile.run("export", first, "-o", f"{FILE}.turnlog")
    (hostile.cwd / f"{FILE}.broken.turnlog").write_text(OBEYED)
    await check(
        hostile,
        ("sessions",),
        ("sessions", "--json"),
        ("show", first),
        ("show", first, "--json"),
        ("show", first, "--tree"),
        ("show", first, "--at", "-2"),
        ("show", first, "--at", "9", "--json"),
        ("history", first),
        ("history", first, "--json"),
        ("tree",),
        ("tree", "--json"),
        ("diff", first, second),
        ("diff", first, second, "--json"),
        ("diff", first, f"{FILE}.turnlog"),
        ("changes", first),
        ("replay", first),
        ("replay", f"{FILE}.broken.turnlog"),
        ("check", "."),
        *(("export", first, "--format", form) for form in FORMS),
        ("config", "-c", f'model="{TITLE}"'),
        ("doctor",),
    )


async def test_commands_that_work_in_a_session_keep_its_words_from_the_terminal(
    hostile: User,
) -> None:
    first, _ = await record(hostile)
    async with hostile.model([SAY], [PATCH], [PLAN], [message(OBEYED)], loop=True):
        await check(
            hostile,
            ("exec", OBEYED),
            ("exec", "--json", OBEYED),
            ("exec", "--color", "never", "--ephemeral", OBEYED),
            ("rerun", first),
            ("simulate", first),
        )
        await check(hostile, ("shell", first, "cat *"))
        await check(hostile, ("undo", first))
        await check(hostile, ("redo", first))
    async with hostile.model(REFUSAL, loop=True):
        await check(hostile, ("exec", OBEYED))
        await check(hostile, ("exec", "resume", first, "go"))
        await check(hostile, ("compact", first))
    await check(hostile, ("name", first, TITLE), ("archive", first))


async def test_errors_quote_what_was_wrong_and_the_terminal_obeys_nothing(hostile: User) -> None:
    (hostile.cwd / FILE).write_text('[{"\\u001b[5m": 1}]')
    await check(
        hostile,
        (OBEYED,),
        ("exec", f"--{OBEYED}"),
        ("exec", "-c", f"{TITLE}=1", "go"),
        ("exec", "-C", OBEYED, "go"),
        ("exec", "-i", FILE + OBEYED, "go"),
        ("exec", "--output-schema", FILE, "go"),
        ("show", OBEYED),
        ("export", OBEYED, "--redact", f"[{OBEYED}"),
        ("import", FILE),
        ("import", OBEYED),
        ("scripted-model", FILE),
        ("replay", FILE),
    )
    hostile.configure(f'"{TITLE.encode("unicode_escape").decode()}" = 1'.replace("\\x", "\\u00"))
    await check(hostile, ("config",), ("exec", "go"))


async def test_a_pipe_gets_every_byte_as_it_was_said(hostile: User) -> None:
    async with hostile.model([message(OBEYED)], loop=True):
        done = await hostile.run("exec", OBEYED)
    assert done.out == f"{OBEYED}\n"
    thread = (await hostile.run("sessions", "--json")).lines[0]["id"]
    history = (await hostile.run("history", thread)).out
    assert history.count(OBEYED) == 3  # the AGENTS.md, the prompt and the answer
    markdown = (await hostile.run("export", thread, "--format", "markdown")).out
    await hostile.run("export", thread, "--format", "markdown", "-o", "file.md")
    assert (hostile.cwd / "file.md").read_bytes().decode() == markdown


async def test_colours_are_for_terminals_that_want_them(hostile: User) -> None:
    async with hostile.model([message("plain")], loop=True):
        await hostile.run("exec", "go")
        wishes: list[tuple[dict[str, str], bool]] = [
            ({}, True),
            ({"NO_COLOR": "1"}, False),
            ({"TERM": "dumb"}, False),
        ]
        for env, coloured in wishes:
            run = partial(in_a_terminal, hostile, "sessions", env=env)
            _, written = await in_thread(run)
            assert ("\x1b" in written) is coloured
        forced = await hostile.run("exec", "--color", "always", "go")
    assert "\x1b[2mturnlog " in forced.err
