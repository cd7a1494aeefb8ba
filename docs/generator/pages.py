"""The list of the pages that are made from the code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.generator.command_line import command_line
from docs.generator.configuration import configuration
from docs.generator.errors import errors
from docs.generator.python_api import python_api
from docs.generator.script import script
from docs.generator.structure import folders
from docs.generator.vocabulary import events, ops

FOLDER: Final = Path("reference/generated")  # below docs/

# By the file's name in that folder.
GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "command-line.md": command_line,
    "configuration.md": configuration,
    "events.md": events,
    "ops.md": ops,
    "errors.md": errors,
    "folders.md": folders,
    "python.md": python_api,
    "script.md": script,
}


def write_pages(docs: Path) -> None:
    """Write all generated pages below the folder `docs`. A page that has not changed is left."""
    folder = docs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, generate in GENERATED.items():
        text, path = generate(), folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
