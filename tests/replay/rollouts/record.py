"""Records the rollouts in tests/data/recorded_rollouts with the real Codex, and scrubs them.

    python -m tests.replay.rollouts.record FOLDER

Paths become those of /home/user/project; Codex's own instructions, which are long and not ours,
become a word in angle brackets.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, cast

import trio

from tests.replay.rollouts.codex import PATCH, Codex
from turnlog.runtime.scripted_model.script import Response, call, custom, message, reasoning

_LONG: Final = re.compile(
    r"<(skills_instructions|apps_instructions|plugins_instructions)>.*</\1>", re.DOTALL
)


async def _record(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as root:
        codex = Codex(Path(root))
        await _session(codex)
        names = ["session", "fork"]
        for name, path in zip(names, codex.rollouts(), strict=True):
            _keep(path, folder / f"{name}.jsonl", root)
        codex.forget()
        await _interrupted(codex)
        _keep(codex.rollouts()[0], folder / "interrupted.jsonl", root)
        codex.forget()
        await _failed(codex)
        _keep(codex.rollouts()[0], folder / "failed.jsonl", root)


async def _session(codex: Codex) -> None:
    shell: dict[str, Any] = {"cmd": "echo one; exit 3", "login": False}
    async with codex.model(
        [reasoning("**Look first**"), call("exec_command", shell)],
        [message("Now the file.", phase="commentary"), custom("apply_patch", PATCH)],
        message("The file is there."),
        message("It says hello."),
        message("In the fork, too."),
    ):
        first = await codex.run("make a file")
        await codex.run("resume", first.thread, "what does it say?")
        await codex.run("fork", first.thread, "and here?")


async def _interrupted(codex: Codex) -> None:
    async with codex.model(
        call("exec_command", {"cmd": "echo begun; sleep 60", "login": False}),
        message("Stopped, then."),
    ):
        await codex.interrupted("run something long", at="command_execution")
        first = json.loads(codex.rollouts()[0].read_text().split("\n")[0])
        thread: str = first["payload"]["id"]
        await codex.run("resume", thread, "never mind")


async def _failed(codex: Codex) -> None:
    async with codex.model(Response(status=400), message("This time it worked.")):
        failed = await codex.run("this fails")
        await codex.run("resume", failed.thread, "again")


def _keep(source: Path, target: Path, root: str) -> None:
    lines = [json.loads(line) for line in source.read_text().split("\n") if line]
    for line in lines:
        base = line["payload"].get("base_instructions")
        if base:
            base["text"] = "<instructions>"
        skills = line["payload"].get("state", {}).get("host_skills")
        if skills:
            skills["body"] = "<skills>"
    text = "".join(json.dumps(_scrubbed(line, root), ensure_ascii=False) + "\n" for line in lines)
    target.write_text(text)


def _scrubbed(value: object, root: str) -> object:
    match value:
        case str():
            text = value.replace(f"{root}/project", "/home/user/project")
            return _LONG.sub(r"<\1>…</\1>", text.replace(root, "/home/user"))
        case list():
            return [_scrubbed(item, root) for item in cast(list[object], value)]
        case dict():
            pairs = cast(dict[str, object], value).items()
            return {_scrubbed(key, root): _scrubbed(item, root) for key, item in pairs}
        case _:
            return value


if __name__ == "__main__":
    trio.run(_record, Path(sys.argv[1]))
