"""Images that the model is shown."""

import base64
from typing import Final

from msgspec import Struct

URL_BEGINNINGS: Final = ("https://", "http://", "data:image/")
MAX_IMAGE_BYTES: Final = 20 << 20  # the images of one message, or of one tool's result, together
_HEAD: Final = 12  # bytes that tell an image's type


class Image(Struct, frozen=True):
    """An image that a tool returns to the model: alone, or in a list with texts.

    `Image.of(data)` takes the content of a PNG, JPEG, GIF or WebP file. The log keeps the URL, so
    an image with a `data:` URL is kept whole.
    """

    url: str  # data:image/..., or https:, which the provider loads
    detail: str | None = None  # how closely the model looks: low, high, auto or original

    @classmethod
    def of(cls, data: bytes, *, detail: str | None = None) -> "Image":
        """Return the image that a file's content is.

        Raises:
            ValueError: it is not PNG, JPEG, GIF or WebP.
        """
        media_type = image_type(data)
        if media_type is None:
            raise ValueError("this is not PNG, JPEG, GIF or WebP by its content")
        return cls(data_url(data, media_type), detail)


def image_type(data: bytes) -> str | None:
    """Return the media type that an image's first 12 bytes tell; None: not one we send."""
    head = data[:_HEAD]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def data_url(data: bytes, media_type: str) -> str:
    """Return the URL that holds an image itself."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
