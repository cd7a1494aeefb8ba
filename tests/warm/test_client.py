"""A fork is a process of its own, as a new one would be."""

import os
import signal
from pathlib import Path

import pytest

from tests.warm.client import Ended, of_a_start, run, start
from tests.warm.request import Program

TELLS = """
import os, sys
print(os.getcwd(), os.environ, sys.argv[1:], sys.stdin.read(), os.umask(0))
sys.exit(7)
"""


def program(folder: Path, text: str, *words: str) -> Program:
    return Program(str(folder), {"PATH": os.environ["PATH"], **of_a_start()}, words, text=text)


async def test_it_has_its_own_folder_environment_arguments_streams_and_mask(tmp_path: Path) -> None:
    told = program(tmp_path, TELLS, "word")._replace(environment={**of_a_start(), "A": "b"})
    environ = f"environ({ {**of_a_start(), 'A': 'b'} })"
    ended = await run(told._replace(umask=0o27), stdin=b"said")
    assert ended == Ended(7, f"{tmp_path} {environ} ['word'] said 23\n".encode(), b"")


async def test_an_error_ends_it_as_it_ends_an_interpreter(tmp_path: Path) -> None:
    ended = await run(program(tmp_path, "raise ValueError('planted')"))
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err.endswith(b"ValueError: planted\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    with start(program(tmp_path, "import time; print('up', flush=True); time.sleep(600)")) as fork:
        async with fork.output() as output:
            assert await output.receive_some() == b"up\n"
        fork.send_signal(number)
        assert await fork.ended() == -number


async def test_what_an_interpreter_reads_at_its_start_gets_a_new_one(tmp_path: Path) -> None:
    version = Program(str(tmp_path), {"PYTHONIOENCODING": "utf-16"}, ("--version",))
    assert (await run(version)).out.decode("utf-16").startswith("turnlog, version ")
