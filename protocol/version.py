"""turnlog's own version, as events and headers carry it."""

from typing import Final

VERSION: Final = "0.1.0"
