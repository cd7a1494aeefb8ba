"""Small trees of files to draw, write and compare."""

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

from turnlog.protocol.files import FileImage
from turnlog.runtime.workspace.images import images_of

# A file is (content, mode); a link is its target.
Tree = dict[str, tuple[bytes, int] | str]

LINES = st.sampled_from(
    [
        "",
        "a",
        "b",
        "c",
        "a\r",
        "\r",
        "x\u2028y",
        "\x0c",
        "-- a",
        "++ b",
        "\\ No",
        "@@ -1 +1 @@",
        "ü",
    ]
)


def _text(lines: list[str], end: str) -> bytes:
    return ("\n".join(lines) + end).encode()


TEXTS = st.builds(_text, st.lists(LINES, max_size=30), st.sampled_from(["", "\n"]))
MODES = st.sampled_from([0o644, 0o755])
FILES = st.tuples(TEXTS, MODES)
LINKS = st.sampled_from(["a", "../nowhere", "d/e"])
NAMES = ("a", "b c", "d/e", "d/f/g", 'q"\\', "ünï", "tab\tnew\nline")

PLAIN_NAMES = ("a", "b", "d/e", "d/f/g")


def trees(
    entries: st.SearchStrategy[tuple[bytes, int] | str], names: Sequence[str] = NAMES
) -> st.SearchStrategy[Tree]:
    return st.dictionaries(st.sampled_from(names), entries, max_size=len(names))


def write(tree: Tree, root: Path) -> None:
    """Make `root` hold the tree and nothing else."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, str):
            path.symlink_to(entry)
        else:
            path.write_bytes(entry[0])
            path.chmod(entry[1])


def read(root: Path) -> Tree:
    tree: Tree = {}
    for folder, folders, names in os.walk(root):
        for name in names + [name for name in folders if os.path.islink(f"{folder}/{name}")]:
            path = Path(folder, name)
            key = str(path.relative_to(root))
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                tree[key] = os.readlink(path)
            else:
                tree[key] = (path.read_bytes(), status.st_mode & 0o777)
    return tree


def folders(root: Path) -> set[str]:
    return {folder for folder, _, _ in os.walk(root)}


def images(root: Path, names: Mapping[str, object]) -> dict[str, FileImage]:
    return {image.path: image for image in images_of(str(root / name) for name in names)}
