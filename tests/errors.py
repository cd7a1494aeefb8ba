"""What tests of errors compare: the code, which is what scripts and clients match on."""

import pytest

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import TurnlogError


def raises_code(code: ErrorCode, *, match: str | None = None) -> "pytest.RaisesExc[TurnlogError]":
    """Expect an error with this code, and with a text that `match` is found in."""
    return pytest.RaisesExc(TurnlogError, match=match, check=lambda error: error.code == code.value)
