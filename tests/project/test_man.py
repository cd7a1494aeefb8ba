"""Manual pages: one for turnlog and one for each command, with what the help says."""

import re
import shutil
import subprocess

import pytest
from docs.generator.man import pages

from turnlog.frontends.cli import COMMANDS
from turnlog.frontends.cli.examples import EXAMPLES

PAGES = pages()


def test_there_is_a_page_for_each_command() -> None:
    assert set(PAGES) == {"turnlog.1", *(f"turnlog-{name}.1" for name in COMMANDS)}
    shown = PAGES["turnlog.1"].replace("\\-", "-")
    assert [name for name in COMMANDS if f"turnlog-{name}(1)" not in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_the_sections_that_readers_expect(name: str) -> None:
    page = PAGES[f"turnlog-{name}.1"]
    sections = re.findall(r'^\.SH "(.*)"$', page, re.MULTILINE)
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
    assert sections[-1] == "SEE ALSO"
    assert sections.count("EXAMPLES") == 1
    shown = page.replace("\\-", "-").replace("\\e", "\\")
    assert all(line in shown for line in EXAMPLES[name].strip().splitlines())


@pytest.mark.parametrize("name", PAGES)
def test_roff_obeys_nothing_but_the_requests_of_the_generator(name: str) -> None:
    requests = {line.split()[0] for line in PAGES[name].splitlines() if line[:1] in (".", "'")}
    assert requests <= {".TH", ".SH", ".PP", ".TP", ".nf", ".fi"}
    if shutil.which("groff"):
        lint = ["groff", "-man", "-ww", "-z", "-T", "utf8"]
        done = subprocess.run(lint, input=PAGES[name].encode(), capture_output=True, check=True)
        assert done.stderr == b""
