"""The examples of the guide to testing agents are one program, and it passes."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
PAGE = Path(__file__).parents[3] / "docs" / "testing-agents.md"
OPTIONS = ("-p", "no:turnlog", "-p", "turnlog.replay.testing.plugin", "-p", "no:cacheprovider")

FEW = """
from hypothesis import settings

settings.register_profile("few", max_examples=10, stateful_step_count=10, deadline=None)
settings.load_profile("few")
"""


def test_the_guide_s_examples_pass(pytester: pytest.Pytester) -> None:
    files: dict[str, str] = {}
    for name, code in re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        files[name] = files.get(name, "") + code
    assert list(files) == ["shelf.py", "test_shelf.py"]
    for name, code in files.items():
        (pytester.path / name).write_text(code)
    (pytester.path / "conftest.py").write_text(FEW)
    result = pytester.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=5)
    assert (pytester.path / "__turnlog__" / "test_shelf.test_it_moves.turnlog").exists()
