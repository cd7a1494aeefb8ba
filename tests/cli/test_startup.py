"""Starting up is part of the product: what a command does not need, it does not import."""

import re
import sys
from importlib.util import find_spec

import trio

from tests.cli.harness import TURNLOG, User

CLICK = {"click"}
MSGSPEC = {"msgspec", "typing_extensions"}
ATTRS = {"attr", "attrs"}
TRIO = {"idna", "outcome", "sniffio", "sortedcontainers", "trio"}
STORE = {"lmdb"}
_LINE = re.compile(r"import time:.*\|\s*([\w.]+)$")


async def imported(user: User, *words: str) -> set[str]:
    """Return the third-party packages that a command imports."""
    python, *rest = TURNLOG
    done = await trio.run_process(
        [python, "-X", "importtime", *rest, *words],
        stdin=b"",
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=user.cwd,
        env=user.environment(),
    )
    names = (_LINE.match(line) for line in done.stderr.decode().splitlines())
    tops = {name[1].partition(".")[0] for name in names if name} - sys.stdlib_module_names - SITE
    return {top for top in tops if find_spec(top) is not None}  # the others were not found


# What site.py brings into every process here, and what modules do not belong to a package.
SITE = {"turnlog", "sitecustomize", "_distutils_hack", "org", "__main__"}


async def test_the_version_needs_click_alone(user: User) -> None:
    assert await imported(user, "--version") == CLICK


async def test_a_run_reads_its_prompt_before_it_imports_the_engine(user: User) -> None:
    assert await imported(user, "exec") == CLICK | MSGSPEC


async def test_a_list_needs_the_store_and_no_engine(user: User) -> None:
    async with user.model("done"):
        await user.run("exec", "go")
    found = await imported(user, "sessions")
    assert found == CLICK | MSGSPEC | ATTRS | TRIO | STORE


async def test_a_run_imports_nothing_that_it_does_not_use(user: User) -> None:
    async with user.model("done"):
        found = await imported(user, "exec", "go")
    client = {"anyio", "certifi", "h11", "httpcore", "httpx"}
    assert found == CLICK | MSGSPEC | ATTRS | TRIO | STORE | client | {"uuid_utils"}
