"""The files of a simulated world: what tools write, and what an undo brings back."""

from collections.abc import Iterable

import attrs

from turnlog.protocol.files import (
    FileEdit,
    FileImage,
    FileMark,
    RestoredFile,
    digest_of,
    is_same,
    mark_of,
)


@attrs.define(eq=False)
class FileSystem:
    """Files by path. They outlive every crash."""

    texts: dict[str, str] = attrs.field(factory=dict[str, str])
    writes: int = 0

    def write(self, path: str) -> None:
        """Give a file a content that it never had."""
        self.writes += 1
        self.texts[path] = f"content {self.writes}"

    def image(self, path: str) -> FileImage:
        text = self.texts.get(path)
        if text is None:
            return FileImage(path, missing=True)
        return FileImage(path, text, mode=0o644, digest=digest_of(text.encode()))

    def images(self) -> list[FileImage]:
        return [self.image(path) for path in sorted(self.texts)]

    def plan(self, edits: Iterable[FileEdit], *, force: bool) -> dict[str, FileImage | None]:
        """Return what each file is to be again; None where somebody else has changed it."""
        oldest: dict[str, FileImage] = {}
        left: dict[str, FileMark | None] = {}
        for edit in edits:
            path = edit.before.path
            oldest.setdefault(path, edit.before)
            left[path] = edit.after
        plan: dict[str, FileImage | None] = dict(oldest)
        for path, mark in left.items():
            if mark is not None and not force and not is_same(mark, mark_of(self.image(path))):
                plan[path] = None
        return plan

    def put(self, image: FileImage) -> RestoredFile:
        if image.text is None:
            self.texts.pop(image.path, None)
            return RestoredFile(image.path, "deleted", "it was not there")
        self.texts[image.path] = image.text
        return RestoredFile(image.path, "restored", "it is as it was")
