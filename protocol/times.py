"""Times of the log: microseconds of Unix time, and what people and programs write instead. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc(time_us: int) -> datetime:
    """Return a time of the log, in UTC."""
    return _EPOCH + timedelta(microseconds=time_us)


def rfc3339(time_us: int, timespec: str = "microseconds") -> str:
    """Return a time of the log as RFC 3339, in UTC with a Z.

    Args:
        timespec: the smallest unit, as `datetime.isoformat` names it.
    """
    return utc(time_us).isoformat(timespec=timespec).replace("+00:00", "Z")


def time_us(timestamp: object) -> int | None:
    """Return a time of RFC 3339 in microseconds of Unix time; None if it is no such text.

    A time without a zone counts as UTC.
    """
    if not isinstance(timestamp, str):
        return None
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // timedelta(microseconds=1)
