"""Nothing in a hidden folder is read for the model, by whichever name it is reached."""

import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.files import FileEdit, FileImage
from turnlog.protocol.ops import LocalImageInput
from turnlog.runtime.config.files import read_regular
from turnlog.runtime.context.agents_md import Docs, load_docs
from turnlog.runtime.context.user_input import user_message
from turnlog.runtime.patch.apply import plan_patch
from turnlog.runtime.patch.parse import parse_patch
from turnlog.runtime.sandbox.guard import OPEN, WHY, ReadGuard
from turnlog.runtime.workspace.images import image_of, images_of
from turnlog.runtime.workspace.restore import plan_restore
from turnlog.runtime.workspace.scan import WorkspaceScan


@attrs.frozen
class Place:
    work: Path
    home: Path

    @property
    def guard(self) -> ReadGuard:
        return ReadGuard([str(self.home)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    real = tmp_path.resolve()
    made = Place(real / "work", real / "home")
    made.work.mkdir()
    (made.home / "store").mkdir(parents=True)
    (made.home / "store" / "data").write_text("secret\n")
    return made


def by_link(place: Place, name: str) -> None:
    (place.work / name).symlink_to(place.home / "store" / "data")


def by_hard_link(place: Place, name: str) -> None:
    os.link(place.home / "store" / "data", place.work / name)


def by_two_links(place: Place, name: str) -> None:
    (place.work / "folder").symlink_to(place.home / "store")
    (place.work / name).symlink_to("folder/data")


WAYS = [by_link, by_hard_link, by_two_links]
Way = Callable[[Place, str], None]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_refused_by_what_it_is(place: Place, way: Way) -> None:
    way(place, "file")
    with pytest.raises(PermissionError) as caught:
        read_regular(place.work / "file", 100, guard=place.guard)
    assert caught.value.strerror == WHY
    assert read_regular(place.work / "file", 100, guard=OPEN) == b"secret\n"


def test_a_file_with_two_names_that_is_not_hidden_is_read(place: Place) -> None:
    (place.work / "one").write_text("plain")
    os.link(place.work / "one", place.work / "two")
    assert read_regular(place.work / "two", 100, guard=place.guard) == b"plain"


@pytest.mark.parametrize("way", WAYS)
def test_instructions_that_lead_into_the_home_are_left_out_and_told(place: Place, way: Way) -> None:
    way(place, "AGENTS.md")
    (place.home / "AGENTS.md").write_text("mine")
    docs = load_docs(
        place.work,
        place.home,
        markers=[".git"],
        fallback_names=[],
        budget=1000,
        user_instructions=None,
        guard=place.guard,
    )
    warning = f"{place.work / 'AGENTS.md'} is left out: it cannot be read ({WHY})."
    assert docs == Docs("mine", (warning,))


@pytest.mark.parametrize("way", WAYS)
def test_an_image_that_leads_into_the_home_is_refused(place: Place, way: Way) -> None:
    (place.home / "store" / "data").write_bytes(b"\x89PNG\r\n\x1a\n secret")
    way(place, "image.png")
    with raises_code(ErrorCode.INPUT_UNREADABLE, match=WHY):
        user_message([LocalImageInput(str(place.work / "image.png"))], place.guard)


@pytest.mark.parametrize("way", WAYS)
def test_a_patch_reads_nothing_of_the_home(place: Place, way: Way) -> None:
    way(place, "file")
    text = "*** Begin Patch\n*** Update File: file\n*** Move to: copy\n-wrong\n+x\n*** End Patch\n"
    with raises_code(ErrorCode.PATCH_INVALID, match=WHY):
        plan_patch(parse_patch(text), str(place.work), place.guard)


def test_images_for_undo_hold_nothing_of_the_home(place: Place) -> None:
    hidden = str(place.home / "store" / "data")
    assert images_of([hidden], guard=place.guard) == (FileImage(hidden, skipped="unreadable"),)
    by_hard_link(place, "hard")
    hard = str(place.work / "hard")
    assert image_of(hard, guard=place.guard) == FileImage(hard, skipped="unreadable")


def test_a_scan_of_the_workspace_leaves_the_home_out(tmp_path: Path) -> None:
    work = tmp_path.resolve()
    place = Place(work, work / "home")
    (place.home / "store").mkdir(parents=True)
    (place.home / "store" / "data").write_text("secret")
    (work / "file").write_text("plain")
    by_hard_link(place, "hard")
    scan = WorkspaceScan(str(work), guard=place.guard)
    images = {
        os.path.basename(image.path): image.text for batch in scan.batches() for image in batch
    }
    assert images == {"file": "plain", "hard": None}
    assert [(one.reason, one.examples) for one in scan.left_out if "home" in one.reason] == [
        ("it is in turnlog's home", (str(place.home),))
    ]


def test_nothing_is_restored_in_the_home(place: Place) -> None:
    """Its path may come from a session that was made elsewhere."""
    path = str(place.home / "config.toml")
    edits = [FileEdit(FileImage(path, text="planted", mode=0o600), None)]
    (step,) = plan_restore(edits, roots=[str(place.home)], force=True, guard=place.guard).steps
    assert (step.action, step.reason) == ("not_covered", "It is in turnlog's home.")
