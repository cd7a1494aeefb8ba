"""The page about the runtime shows the life of a call as the core's table has it."""

from pathlib import Path

from docs.generator.call_life import diagram

PAGE = Path(__file__).parents[2] / "docs/topics/runtime.md"


def test_the_page_shows_the_life_of_a_call() -> None:
    assert f"```text\n{diagram()}\n```\n" in PAGE.read_text()
