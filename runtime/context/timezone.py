"""Which time zone the user lives in, and what day it is there."""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

LOCALTIME: Final = Path("/etc/localtime")


def local_timezone(environ: Mapping[str, str], localtime: Path = LOCALTIME) -> str:
    """Return the IANA name: `$TZ`, or where /etc/localtime leads to; `Etc/UTC` if neither says."""
    chosen = environ.get("TZ", "").removeprefix(":")
    if _is_name(chosen):
        return chosen
    _, found, name = os.path.realpath(localtime).rpartition("/zoneinfo/")
    return name if found and _is_name(name) else "Etc/UTC"


def date_in(timezone: str, time_us: int) -> date:
    """Return the day that it is in `timezone` at a Unix time in microseconds."""
    from zoneinfo import ZoneInfo  # not needed to start

    return datetime.fromtimestamp(time_us / 1_000_000, UTC).astimezone(ZoneInfo(timezone)).date()


def _is_name(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return bool(name)
