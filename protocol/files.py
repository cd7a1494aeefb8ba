"""What was at a path, as undo and the turn's diff need it, and how a restore went.

All of it goes into events: texts over 2 KiB are stored once, by digest, by the log.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

Skipped = Literal["too_large", "unreadable", "special", "changing", "name"]
SKIPPED: Final[dict[Skipped, str]] = {
    "too_large": "it is too large to be kept",
    "unreadable": "it could not be read",
    "special": "it is a device, a pipe or a socket",
    "changing": "it was being changed by someone else",
    "name": "its name, or what it links to, is not UTF-8",
}


class FileImage(Struct, frozen=True):
    """What was at a path at one moment.

    Exactly one of `text`, `base64`, `link`, `folder`, `missing` and `skipped` says what. A
    `too_large` file may still have a digest. Owners, hard links, times and extended attributes
    are not kept.
    """

    path: str  # absolute
    text: str | None = None  # a file's content, verbatim, where it is UTF-8
    base64: str | None = None  # a file's content where it is not
    mode: int | None = None  # permission bits, 0 to 0o777, of a file or folder
    link: str | None = None  # a symbolic link's target; it is never followed
    digest: str = ""  # SHA-256 of a file's content or a link's target, hex
    folder: bool = False
    missing: bool = False  # nothing was there
    skipped: Skipped | None = None  # something was there, and why it was not kept


class FileMark(Struct, frozen=True):
    """An image without its content: enough to tell whether a file is still the same.

    `unknown` is equal to nothing that a file can be.
    """

    kind: Literal["file", "link", "folder", "missing", "unknown"]
    digest: str = ""
    mode: int | None = None


class FileEdit(Struct, frozen=True):
    """One change of one path. `after` is None where the path was not read after the change."""

    before: FileImage
    after: FileMark | None = None


Action = Literal["write", "delete", "nothing", "conflict", "not_covered"]


TIME_OVER: Final = "the time was over"
TOO_MANY: Final = "there are more than"  # begins the reason
# Reasons of a scan that leave files unknown, and not only their content.
UNSEEN: Final = (TIME_OVER, TOO_MANY, SKIPPED["unreadable"])


class TurnWork(Struct, frozen=True):
    """What is known of the commands that ran in the turns that an undo takes back."""

    commands: tuple[str, ...] = ()  # as a person reads them, in order
    times_us: tuple[tuple[int, int], ...] = ()  # when each of those turns began and ended
    scanned: frozenset[str] | None = None  # all files that were there before; None: no whole scan


class RestoreStep(Struct, frozen=True):
    """What a restore would do at a path, and why. `reason` is a sentence for a person."""

    path: str
    action: Action
    reason: str


class RestoredFile(Struct, frozen=True):
    """What a restore did at a path.

    `untouched`: it would have been restored, had every other file allowed it.
    """

    path: str
    outcome: Literal[
        "restored", "deleted", "nothing", "conflict", "not_covered", "failed", "untouched"
    ]
    reason: str


class LeftOut(Struct, frozen=True):
    """What a scan did not cover, for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...]  # paths, at most 3; one that is not UTF-8 has `?` in it


def mark_of(image: FileImage) -> FileMark:
    """Return the image's mark."""
    if image.missing:
        return FileMark("missing")
    if image.folder:
        return FileMark("folder", mode=image.mode)
    if image.link is not None:
        return FileMark("link", image.digest)
    if image.digest:
        return FileMark("file", image.digest, image.mode)
    return FileMark("unknown", mode=image.mode)


def is_same(one: FileMark, other: FileMark) -> bool:
    """Say whether two marks stand for the same content, whatever the permissions."""
    return (one.kind, one.digest) == (other.kind, other.digest) and one.kind != "unknown"


def edits_of(before: Iterable[FileImage], after: Iterable[FileImage]) -> tuple[FileEdit, ...]:
    """Pair the images before and after by path. `after` is None for a path without an image."""
    marks = {image.path: mark_of(image) for image in after}
    return tuple(FileEdit(image, marks.get(image.path)) for image in before)


def digest_of(content: bytes) -> str:
    """Return the digest that images and marks carry."""
    return sha256(content).hexdigest()
