"""One run of `turnlog exec` where we are, against a scripted model: says what came of it.

It has to write a file, or, where no sandbox works, to say that it could not. Run as a program in
the surroundings that are to be tried; exits with 0 if it went as it should.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from turnlog.runtime.scripted_model.script import Script, call
from turnlog.runtime.scripted_model.server import serve_script

_WRITE = "echo written > made/file && cat made/file"
_SCRIPT = ([call("exec_command", {"cmd": _WRITE, "login": False})], "Done.")


async def main(expects_sandbox: bool) -> str:
    """Return what is wrong; nothing if all is as it should be."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        made = root / "work" / "made"
        made.mkdir(parents=True)
        async with serve_script(Script.of(*_SCRIPT)) as server:
            settings = (f'model_providers.m.base_url="{server.base_url}"', "model_provider=m")
            words = [word for setting in settings for word in ("-c", setting)]
            # The store below TMPDIR, which commands may write: it has to be kept from them.
            done = await trio.run_process(
                [sys.executable, "-m", "turnlog", "exec", "-s", "workspace-write", *words, "go"],
                cwd=made.parent,
                env={**os.environ, "TURNLOG_HOME": str(root / "home")},
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        is_written = (made / "file").is_file()
        told = done.stderr.decode(errors="replace")
    wanted = (0, True, False) if expects_sandbox else (3, False, True)
    if (done.returncode, is_written, "Warning: commands cannot be" in told) == wanted:
        return ""
    return f"exit code {done.returncode}, written: {is_written}\n{told}"


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:] == ["sandbox"]) or 0)
