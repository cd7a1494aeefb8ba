"""The real Codex at a command line of its own: a home nobody else uses, and a scripted model.

Codex is a binary of some 300 MB, so tests that need it are skipped where it is not installed:
`npm install @openai/codex` in any folder, and its `node_modules/.bin/codex` in TURNLOG_TEST_CODEX
or on the PATH.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from turnlog.runtime.scripted_model.script import Item, Response, Script
from turnlog.runtime.scripted_model.server import ScriptedServer, serve_script

_CONFIG = """\
model = "{model}"
model_provider = "local"
sandbox_mode = "danger-full-access"
approval_policy = "never"

[model_providers.local]
name = "local"
base_url = "{url}"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 0
stream_max_retries = 0
"""
PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+Hello\n+wörld ✓\n*** End Patch\n"

needs_codex = pytest.mark.skipif(
    not (os.environ.get("TURNLOG_TEST_CODEX") or shutil.which("codex")),
    reason="the real Codex is not installed: see tests/replay/rollouts/codex.py",
)


@attrs.frozen
class Run:
    """What a `codex exec --json` left."""

    code: int
    lines: list[dict[str, Any]]
    err: str

    @property
    def thread(self) -> str:
        thread: str = self.lines[0]["thread_id"]
        return thread

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of the whole thread, as the last line counts them."""
        usage: dict[str, int] = self.lines[-1]["usage"]
        return usage


@attrs.frozen
class Codex:
    """Runs Codex below a folder."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "codex"

    @property
    def cwd(self) -> Path:
        return self.root / "project"

    @property
    def sessions(self) -> Path:
        return self.home / "sessions"

    def rollouts(self) -> list[Path]:
        """Return the rollouts, the oldest first."""
        return sorted(self.sessions.rglob("*.jsonl"), key=lambda path: path.name)

    def forget(self) -> None:
        """Take away every session, and what Codex has noted of them elsewhere."""
        shutil.rmtree(self.home)
        self.home.mkdir()

    @asynccontextmanager
    async def model(
        self, *responses: Response | Item | str | list[Item], name: str = "gpt-5.5"
    ) -> AsyncGenerator[ScriptedServer]:
        """Serve a script, and configure it as Codex's model."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.cwd.mkdir(exist_ok=True)
        async with serve_script(Script.of(*responses)) as server:
            text = _CONFIG.format(url=server.base_url, model=name)
            (self.home / "config.toml").write_text(text)
            with trio.fail_after(120):
                yield server

    def _command(self, *words: str) -> list[str]:
        binary = os.environ.get("TURNLOG_TEST_CODEX") or "codex"
        return [binary, "exec", "--json", "--skip-git-repo-check", *words]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "CODEX_HOME": str(self.home),
            "LANG": "C.UTF-8",
        }

    async def run(self, *words: str) -> Run:
        """Run a turn to its end."""
        done = await trio.run_process(
            self._command(*words),
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.cwd,
            env=self._environment(),
        )
        lines = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
        return Run(done.returncode, lines, done.stderr.decode())

    async def interrupted(self, *words: str, at: str) -> None:
        """Run a turn, and press Ctrl-C once a line of its stdout holds `at`."""
        await trio.to_thread.run_sync(self._interrupted, words, at)

    def _interrupted(self, words: tuple[str, ...], at: str) -> None:
        process = subprocess.Popen(
            self._command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.cwd,
            env=self._environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        with process:
            try:
                for line in process.stdout:
                    if at in line.decode():
                        os.killpg(process.pid, signal.SIGINT)
                        break
                process.stdout.read()
                process.wait()
            finally:
                process.kill()
