"""Large texts: stored once, by the SHA-256 of what they are.

A stored blob is one codec byte, then the content. 0: as it is. 1: zlib, where that saves a fifth.
"""

import zlib
from hashlib import sha256
from typing import Final

RAW: Final = b"\x00"
ZLIB: Final = b"\x01"
WORTH_PACKING: Final = 4096  # bytes
LEVEL: Final = 1  # about 1 ms for 100 KB of text
WORTH_KEEPING: Final = 0.8  # of the content's size


class BlobDamaged(ValueError):
    """A stored blob is not what its digest says."""


def pack(content: bytes) -> bytes:
    """Return `content` as it is stored."""
    if len(content) >= WORTH_PACKING:
        packed = zlib.compress(content, LEVEL)
        if len(packed) <= WORTH_KEEPING * len(content):
            return ZLIB + packed
    return RAW + content


def unpack(stored: bytes, digest: bytes) -> bytes:
    """Return the content of a stored blob.

    Raises:
        BlobDamaged: its bytes have changed, or a newer turnlog packed it.
    """
    codec, content = stored[:1], stored[1:]
    if codec == ZLIB:
        try:
            content = zlib.decompress(content)
        except zlib.error as error:
            raise BlobDamaged(f"blob {digest.hex()} cannot be unpacked: {error}") from error
    elif codec != RAW:
        raise BlobDamaged(f"blob {digest.hex()} has codec {codec.hex()}, which is unknown here")
    if sha256(content).digest() != digest:
        raise BlobDamaged(f"blob {digest.hex()} does not have this digest")
    return content
