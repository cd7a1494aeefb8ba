"""Make the user's message: its texts, and its images read."""

from collections.abc import Iterable, Iterator
from errno import EFBIG
from pathlib import Path

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.images import MAX_IMAGE_BYTES, URL_BEGINNINGS, data_url, image_type
from turnlog.protocol.items import ContentPart, JsonText, Message, encode_item
from turnlog.protocol.ops import ImageInput, LocalImageInput, TextInput, UserInputItem
from turnlog.runtime.config.files import read_regular, size_of_regular
from turnlog.runtime.context.render import escape
from turnlog.runtime.sandbox.guard import OPEN, ReadGuard


def local_image_bytes(items: Iterable[UserInputItem]) -> int:
    """Return how much `user_message` is going to read. What cannot be read counts as nothing."""
    total = 0
    for item in items:
        if isinstance(item, LocalImageInput):
            try:
                total += size_of_regular(Path(item.path))
            except OSError:
                continue
    return total


def user_message(items: Iterable[UserInputItem], guard: ReadGuard = OPEN) -> JsonText:
    """Return the message of these items, in their order. Reads the local images.

    Args:
        guard: refuses images that must not be read for the model.

    Raises:
        UsageError: an image cannot be read, is of a type that is not sent, or is too
            large, or the URL of one is not http, https or data.
    """
    return encode_item(Message("user", list(_parts(items, guard))))


def _parts(items: Iterable[UserInputItem], guard: ReadGuard) -> Iterator[ContentPart]:
    images, room = 0, MAX_IMAGE_BYTES
    for item in items:
        match item:
            case TextInput(text=text):
                yield ContentPart("input_text", text=text)
            case ImageInput(image_url=url):
                images += 1
                yield _remote_image(url)
            case LocalImageInput(path=path):
                images += 1
                data = _read_image(path, room, guard)
                room -= len(data)
                name = f'<image name=[Image #{images}] path="{escape(path)}">'
                yield ContentPart("input_text", text=name)
                yield _image_part(_data_url(data, path))
                yield ContentPart("input_text", text="</image>")


def _image_part(url: str) -> ContentPart:
    """Return an `input_image`, as Codex sends it (recorded requests of 0.169)."""
    return ContentPart("input_image", image_url=url, detail="original")


def _remote_image(url: str) -> ContentPart:
    if not url.startswith(URL_BEGINNINGS):
        shown = url if len(url) <= 80 else url[:80] + "…"
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"the image {shown!r} has no https:, http: or data:image/ URL. For a file on this "
            "machine, give it as a local image.",
        )
    return _image_part(url)


def _read_image(path: str, room: int, guard: ReadGuard) -> bytes:
    try:
        return read_regular(Path(path), room, guard=guard)
    except OSError as error:
        limit = f" Images may have {MAX_IMAGE_BYTES} bytes in one message, all together."
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"the image {path} cannot be read: {error.strerror}."
            + (limit if error.errno == EFBIG else ""),
        ) from None


def _data_url(data: bytes, path: str) -> str:
    media_type = image_type(data)
    if media_type is None:
        raise UsageError(
            ErrorCode.INPUT_UNREADABLE,
            f"the image {path} is not PNG, JPEG, GIF or WebP by its content; those can be sent.",
        )
    return data_url(data, media_type)
