"""An approval is for what was shown: the command, its folder, its sandbox, and the files it runs.

Each test answers questions as a person does, and then has the model try something wider.
"""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.kit import House, Says, house, is_there, of, play, shell
from turnlog.protocol.envelope import Recorded
from turnlog.protocol.events import (
    ApprovalAsked,
    CallPlanned,
    ModelItemReceived,
    ToolDispatched,
    ToolFinished,
)
from turnlog.protocol.ops import ApprovalAnswer, OverrideTurnContext
from turnlog.protocol.settings import SandboxPolicy, SettingsUpdate
from turnlog.runtime.engine.session import Session
from turnlog.runtime.scripted_model.script import Item, custom

ASK: Final[dict[str, Any]] = {"approval_policy": "on-request", "sandbox_mode": "workspace-write"}
OUTSIDE: Final = {"sandbox_permissions": "require_escalated"}


def outside(cmd: str, **arguments: Any) -> Item:  # noqa: ANN401
    return shell(cmd, **OUTSIDE, **arguments)


def write(name: str, text: str) -> Item:
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    return custom("apply_patch", f"*** Begin Patch\n*** Add File: {name}\n{lines}*** End Patch\n")


async def answered(
    h: House, session: Session, *answers: ApprovalAnswer
) -> tuple[list[ApprovalAsked], list[Recorded]]:
    """Run a turn, give these answers in order, decline what else is asked; return the questions."""
    events: list[Recorded] = []
    left, asked = list(answers), list[ApprovalAsked]()
    async for recorded in session.run("go"):
        events.append(recorded)
        if isinstance(event := recorded.event, ApprovalAsked):
            asked.append(event)
            await session.answer(event.question, left.pop(0) if left else "denied")
    return asked, events


async def approved_then(
    folder: Path,
    first: Says,
    then: Says,
    **config: Any,  # noqa: ANN401
) -> tuple[list[ApprovalAsked], list[Recorded]]:
    """Have a call allowed for the session, then a turn of others; return what that one asked."""
    async with house(folder, first, "done", then, "done", **ASK | config) as h:
        session = await h.start()
        asked, _ = await answered(h, session, "approved_for_session")
        assert len(asked) == 1
        return await answered(h, session)


async def test_the_same_command_of_the_same_files_is_not_asked_about_again(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("echo fine\n")
    asked, events = await approved_then(tmp_path, outside("sh x.sh"), outside("sh x.sh"))
    assert asked == []
    assert [event.output for event in of(ToolFinished, events)] == ["fine\n"]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("sh x.sh", "x.sh"),
        ("./x.sh", "x.sh"),
        ("bash -c './x.sh now'", "x.sh"),
        ("cd sub && sh x.sh", "sub/x.sh"),
        ("make -s", "Makefile"),
        ("make -s -C sub", "sub/Makefile"),
        ("cat *.sh | sh", "x.sh"),
        ('sh "$PWD/x.sh"', "x.sh"),
        (". ./x.sh", "x.sh"),
        ("PATH=.:$PATH x.sh", "x.sh"),
        ("sh y.sh", "x.sh"),
        ("python3 -m tool", "tool/__main__.py"),
        ("sh link.sh", "x.sh"),
        ("sh 'with space.sh'", "with space.sh"),
    ],
)
async def test_a_command_whose_file_has_changed_is_asked_about_again(
    command: str, path: str, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "tool").mkdir()
    for name in ("x.sh", "sub/x.sh", "with space.sh"):
        (tmp_path / name).write_text("#!/bin/sh\ntrue\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "y.sh").write_text("sh ./x.sh\n")
    (tmp_path / "link.sh").symlink_to("x.sh")
    (tmp_path / "Makefile").write_text("all:\n\ttrue\n")
    (tmp_path / "sub/Makefile").write_text("all:\n\ttrue\n")
    (tmp_path / "tool/__main__.py").write_text("pass\n")
    rewrite = shell(f"echo '# rewritten; touch escaped' >> '{path}'")
    script = (outside(command), "done", rewrite, outside(command), "done")
    config: dict[str, Any] = ASK | {"sandbox_mode": "danger-full-access"}
    async with house(tmp_path, *script, **config) as h:
        session = await h.start()
        first, _ = await answered(h, session, "approved_for_session")
        again, events = await answered(h, session)
    assert (len(first), first[0].changed) == (1, ())
    assert [asked.changed for asked in again] == [(str(tmp_path / path),)]
    assert len(of(ToolFinished, events)) == 1  # the rewriting itself


async def test_an_approval_inside_of_the_sandbox_is_none_for_outside(tmp_path: Path) -> None:
    asked, events = await approved_then(
        tmp_path,
        shell("echo hi"),
        outside("echo hi"),
        approval_policy="untrusted",
        sandbox_mode="danger-full-access",
    )
    assert asked == []  # it is the same here: there is no sandbox to leave
    (tmp_path / "confined").mkdir()
    asked, events = await approved_then(
        tmp_path / "confined", shell("echo hi"), outside("echo hi"), approval_policy="untrusted"
    )
    assert [one.plan.wants for one in asked] == ["outside"]
    assert of(ToolFinished, events) == []


async def test_an_approval_is_none_for_another_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    asked, _ = await approved_then(tmp_path, outside("pwd"), outside("pwd", workdir="sub"))
    assert len(asked) == 1


@pytest.mark.parametrize(
    "wider",
    [
        SandboxPolicy("danger-full-access"),
        SandboxPolicy("workspace-write", network_access=True),
        SandboxPolicy("workspace-write", writable_roots=("/srv",)),
    ],
)
async def test_an_approval_is_none_under_a_wider_sandbox(
    wider: SandboxPolicy, tmp_path: Path
) -> None:
    say = shell("echo hi")
    config: dict[str, Any] = ASK | {"approval_policy": "untrusted"}
    async with house(tmp_path, say, "done", say, "done", **config) as h:
        session = await h.start()
        await answered(h, session, "approved_for_session")
        await session.submit(OverrideTurnContext(SettingsUpdate(sandbox=wider)))
        asked, _ = await answered(h, session)
        assert len(asked) == 1


async def test_what_a_parallel_call_rewrites_while_it_is_asked_about_is_asked_about_again(
    tmp_path: Path,
) -> None:
    script = tmp_path / "x.sh"
    script.write_text("echo fine\n")
    async with house(tmp_path, outside("sh x.sh"), "done", **ASK) as h:
        session = await h.start()
        asked: list[ApprovalAsked] = []
        async for recorded in session.run("go"):
            if isinstance(event := recorded.event, ApprovalAsked):
                asked.append(event)
                if len(asked) == 1:
                    script.write_text("touch escaped\n")
                await session.answer(event.question, "approved" if len(asked) == 1 else "denied")
        records = await h.events(session)
    assert [one.changed for one in asked] == [(), (str(script),)]
    assert asked[0].question != asked[1].question
    assert len(of(CallPlanned, records)) == 1
    assert [event.approved for event in of(ToolDispatched, records)] == [True]
    assert of(ToolFinished, records) == []
    assert not is_there(tmp_path / "escaped")


async def test_what_is_approved_as_it_is_now_runs(tmp_path: Path) -> None:
    script = tmp_path / "x.sh"
    script.write_text("echo one\n")
    async with house(tmp_path, outside("sh x.sh"), "done", **ASK) as h:
        session = await h.start()
        async for recorded in session.run("go"):
            if isinstance(event := recorded.event, ApprovalAsked):
                if not event.changed:
                    script.write_text("echo two\n")
                await session.answer(event.question, "approved")
        finished = of(ToolFinished, await h.events(session))
    assert [event.output for event in finished] == ["two\n"]


async def test_a_file_that_a_command_writes_may_change_but_not_lead_elsewhere(
    tmp_path: Path,
) -> None:
    note = outside("echo hi >> log.txt")
    config: dict[str, Any] = ASK | {"sandbox_mode": "danger-full-access"}
    lead = shell("rm log.txt; ln -s other.txt log.txt")
    async with house(tmp_path, note, note, "done", lead, note, "done", **config) as h:
        session = await h.start()
        asked, _ = await answered(h, session, "approved_for_session")
        assert len(asked) == 1
        assert (tmp_path / "log.txt").read_text() == "hi\nhi\n"
        again, _ = await answered(h, session)
    assert [one.changed for one in again] == [(str(tmp_path / "log.txt"),)]


async def test_a_patch_is_approved_for_the_session_as_it_is(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    name = str(out / "a.txt")
    config: dict[str, Any] = ASK | {"sandbox_mode": "read-only"}
    first, other = write(name, "harmless"), write(name, "harmful")
    async with house(work, first, "done", other, "done", **config) as h:
        session = await h.start()
        await answered(h, session, "approved_for_session")
        assert (out / "a.txt").read_text() == "harmless\n"
        (out / "a.txt").unlink()
        asked, _ = await answered(h, session)
    assert len(asked) == 1
    assert not is_there(name)


async def test_a_patch_does_not_follow_a_link_that_was_put_there_after_the_question(
    tmp_path: Path,
) -> None:
    work, out, secret = tmp_path / "work", tmp_path / "out", tmp_path / "secret"
    for folder in (work, out, secret):
        folder.mkdir()
    config: dict[str, Any] = ASK | {"sandbox_mode": "read-only"}
    async with house(work, write(str(out / "a.txt"), "hello"), "done", **config) as h:
        session = await h.start()
        asked = 0
        async for recorded in session.run("go"):
            if isinstance(event := recorded.event, ApprovalAsked):
                asked += 1
                if asked == 1:
                    out.rmdir()
                    out.symlink_to(secret)
                await session.answer(event.question, "approved" if asked == 1 else "denied")
    assert asked == 2
    assert list(secret.iterdir()) == []


async def test_a_file_that_is_too_large_to_be_read_is_compared_by_its_stamp(tmp_path: Path) -> None:
    big = tmp_path / "big.sh"
    big.write_text("true\n")
    with big.open("r+b") as file:
        file.truncate(9 << 20)
    rewrite = shell("printf 'echo' | dd of=big.sh conv=notrunc status=none")
    look = outside("head -c4 big.sh")
    config: dict[str, Any] = ASK | {"sandbox_mode": "danger-full-access"}
    async with house(tmp_path, look, "done", rewrite, look, "done", **config) as h:
        session = await h.start()
        await answered(h, session, "approved_for_session")
        asked, _ = await answered(h, session)
    assert len(asked) == 1


async def test_with_more_files_than_can_be_looked_at_each_run_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlog.runtime.tools.named_files.MOST_FILES", 3)
    (tmp_path / "many").mkdir()
    for number in range(5):
        (tmp_path / "many" / f"{number}.txt").touch()
    asked, _ = await approved_then(tmp_path, outside("ls many"), outside("ls many"))
    assert len(asked) == 1


async def test_where_nobody_may_be_asked_no_file_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true\n")
    async with house(tmp_path, shell("sh x.sh"), "done", approval_policy="never") as h:
        session = await h.start()
        events = await play(session)
        plans = [event.plan for event in of(ModelItemReceived, events)]
        assert [plan.files for plan in plans if plan is not None] == [()]
