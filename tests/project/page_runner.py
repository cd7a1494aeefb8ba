"""Runs what a page of the documentation shows, as its reader would, in a fresh folder.

Of a page's code blocks these count, from the first to the last:

* `python`, `toml`, `json`: the first line is a comment with the file's name, and the block is
  written there; a name that comes again is appended to. A name that begins with `~/` is below the
  home folder.
* `console`: each line that begins with `$` is run by bash; the lines after it are what it prints.
  `...` stands for any text; alone on a line, for any lines. ID is the newest session's id.

Other languages are shown only. A comment of the page, `% model: SCRIPT`, starts a scripted model
with that script and configures it; `% config: TOML` adds a line of configuration. With
`% needs: sandbox`, the page is true only where commands can be confined.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"(?:#|//) (\S+)\n")
WRITTEN = ("python", "toml", "json")
PORT = "8123"  # in the text of pages; a free one takes its place
FIND_NEWEST = 'newest=$(turnlog sessions --json | sed -n \'1s/^{"id":"\\([^"]*\\)".*/\\1/p\')'
# After one of these, the newest session is the same as before. To ask for it costs a start each.
MAKES_NO_SESSION = re.compile(
    r"(?:turnlog (?:changes|diff|history|redo|replay|show|undo)|ls|cat)(?: |$)"
)
MARK = "<<end of output>>"
PATIENCE = 240  # seconds for all commands of a page


class Command(NamedTuple):
    text: str
    output: list[str]  # as the page says it


class Page(NamedTuple):
    files: dict[str, str]
    commands: list[Command]
    model: str | None
    config: list[str]
    needs_sandbox: bool


def read_page(text: str) -> Page:
    """Return what a page asks to be written and run.

    Raises:
        ValueError: a block of code does not say into which file it goes.
    """
    files: dict[str, str] = {}
    commands: list[Command] = []
    for language, body in BLOCK.findall(text):
        if language in WRITTEN:
            name = NAMED.match(body)
            if name is None:
                raise ValueError(f"a block of {language} begins without a file's name:\n{body}")
            files[name[1]] = files.get(name[1], "") + body[name.end() :]
        elif language == "console":
            commands += _commands(body)
    (model,) = re.findall(r"^% model: (.*)$", text, re.MULTILINE) or [None]
    config = re.findall(r"^% config: (.*)$", text, re.MULTILINE)
    return Page(files, commands, model, config, "\n% needs: sandbox\n" in text)


def run_page(page: Page, folder: Path) -> None:
    """Run a page in the folder, and compare what its commands print.

    Raises:
        AssertionError: a command prints something else.
    """
    port = _free_port()
    home, work = folder / "home", folder / "work"
    for made in (home / ".turnlog", work):
        made.mkdir(parents=True)
    for name, text in page.files.items():
        path = home / name[2:] if name.startswith("~/") else work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(PORT, port))
    environ = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "LANG": "C.UTF-8",
    }
    with _model(page, folder, port, environ):
        printed = _run([command.text for command in page.commands], work, environ, port)
    for command, found in zip(page.commands, printed, strict=True):
        if command.output:
            wanted = "\n".join(command.output)
            assert fits(wanted, found), f"$ {command.text}\n{found}\n--- the page says:\n{wanted}"


def fits(wanted: str, found: str) -> bool:
    """Say whether an output is what a page shows of it."""
    pattern = re.escape(wanted.strip()).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, found.strip(), re.DOTALL) is not None


def _commands(body: str) -> list[Command]:
    commands: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], []))
        elif line.startswith("> "):
            last = commands[-1]
            commands[-1] = last._replace(text=f"{last.text}\n{line[2:]}")
        elif line:
            commands[-1].output.append(line)
    return commands


def _run(commands: list[str], work: Path, environ: dict[str, str], port: str) -> list[str]:
    """Run all commands in one shell; return what each has printed."""
    lines: list[str] = []
    knows_newest = False
    for command in commands:
        text, names_it = re.subn(r"\bID\b", "$newest", command.replace(PORT, port))
        if names_it and not knows_newest:
            lines.append(FIND_NEWEST)
            knows_newest = True
        if not MAKES_NO_SESSION.match(text):
            knows_newest = False
        lines += [text, f"echo '{MARK}'"]
    lines.append("kill $(jobs -p) 2>/dev/null; wait")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=work,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.decode().split(f"{MARK}\n")[: len(commands)]


@contextmanager
def _model(page: Page, folder: Path, port: str, environ: dict[str, str]) -> Generator[None]:
    """Run the model that a page has a script for, and configure it."""
    if page.model is None:
        yield
        return
    script = folder / "script.json"
    script.write_text(page.model)
    (Path(environ["HOME"]) / ".turnlog/config.toml").write_text(
        "\n".join(
            [
                'model = "scripted"',
                'model_provider = "scripted"',
                *page.config,
                "[model_providers.scripted]",
                f'base_url = "http://127.0.0.1:{port}/v1"',
            ]
        )
    )
    server = subprocess.Popen(
        ["turnlog", "scripted-model", str(script), "--port", port],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()  # it listens
        yield
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
