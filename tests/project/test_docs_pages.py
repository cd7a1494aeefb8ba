"""What the pages of the documentation show is run, and prints what they say."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.project.page_runner import fits, read_page, run_page
from turnlog.protocol.errors import Unavailable
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
KINDS = ("tutorial", "how-to", "topics")
PAGES = sorted(path for kind in KINDS for path in DOCS.glob(f"{kind}/*.md"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder as a reader's home is: commands that may write to /tmp cannot write there."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_page_shows_runs(path: Path, folder: Path) -> None:
    page = read_page(path.read_text())
    if page.needs_sandbox and not trio.run(a_sandbox_works):
        pytest.skip("no sandbox works here")
    run_page(page, folder)


async def a_sandbox_works() -> bool:
    async with Spawner() as spawner:
        try:
            await Sandbox(spawner).probe()
        except Unavailable:
            return False
    return True


def test_dots_stand_for_any_text() -> None:
    assert fits("a ... z\n...\nend", "a b c z\none\ntwo\nend\n")
    assert not fits("a ... z", "a b c\n")
    assert not fits("a.c", "abc")


def test_code_without_a_file_s_name_is_refused() -> None:
    with pytest.raises(ValueError, match="without a file's name"):
        read_page("```python\nprint(1)\n```\n")
