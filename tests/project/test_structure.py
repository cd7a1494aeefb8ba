"""No modules import in a circle, and each folder says what it is for."""

from pathlib import Path

import pytest
from docs.generator.structure import HOUSE, ROOT, circles, folders, imports, packages, purpose

MODULES = {
    "actors/core.py": "from turnlog.protocol.events import Fact\n",
    "protocol/__init__.py": "",
    "protocol/events.py": "import json\n",
}


def test_no_modules_import_in_a_circle() -> None:
    assert circles(imports(ROOT)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from turnlog.actors.core import decide\n",
        "from turnlog.actors import core\n",
        "import turnlog.actors.core\n",
        "def late():\n    from turnlog.actors.core import decide\n",
        "if TYPE_CHECKING:\n    from turnlog.actors import core\n",
    ],
)
def test_a_circle_is_found_however_a_module_is_imported(tmp_path: Path, planted: str) -> None:
    for name, text in {**MODULES, "protocol/events.py": planted}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (circle,) = circles(imports(tmp_path))
    assert set(circle) == {"turnlog.actors.core", "turnlog.protocol.events"}


def test_two_circles_that_have_no_module_in_common_are_both_found() -> None:
    graph = {"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"e"}, "e": {"c"}, "f": {"a"}}
    assert sorted(sorted({*circle}) for circle in circles(graph)) == [["a", "b"], ["c", "d", "e"]]


def test_each_folder_with_a_module_is_on_the_page_with_its_purpose() -> None:
    page = folders()
    holding = {
        str(path.parent.relative_to(ROOT)) for top in HOUSE for path in (ROOT / top).rglob("*.py")
    }
    assert holding == set(packages())
    assert [one for one in packages() if f"| `{one}/` | {purpose(ROOT / one)} |" not in page] == []
    assert [one for one in packages() if len(purpose(ROOT / one)) < 10] == []
