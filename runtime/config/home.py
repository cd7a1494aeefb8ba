"""Where turnlog keeps its store and the user's configuration."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError

SYSTEM_FILE: Final = Path("/etc/turnlog/config.toml")
CONFIG_NAME: Final = "config.toml"
PROJECT_FOLDER: Final = ".turnlog"
STORE_FOLDER: Final = "store"  # below the home folder

_TILDE: Final = "~"


def turnlog_home(environ: Mapping[str, str]) -> Path:
    """Return the home folder, absolute: `$TURNLOG_HOME`, or `.turnlog` in the user's home.

    An empty variable counts as not set. A relative TURNLOG_HOME is one of the current folder.
    Without HOME, the user's home is what the password file says. The folder need not exist.

    Raises:
        UsageError: no variable and no entry names a folder; HOME is relative; a name is not
            UTF-8; or a store would be made in a folder that is called `~`, which somebody will
            remove one day.
    """
    chosen = environ.get("TURNLOG_HOME")
    home = _chosen(chosen, environ) if chosen else _user_home(environ) / ".turnlog"
    try:
        str(home).encode()
    except UnicodeEncodeError:
        raise _unknown(f"the name of the folder {os.fsencode(home)!r} is not UTF-8.") from None
    if _TILDE in home.parts:
        raise _unknown(f"{home} has a folder in it that is called `~`.")
    return home


def _chosen(text: str, environ: Mapping[str, str]) -> Path:
    if "\0" in text:
        raise _unknown(f"TURNLOG_HOME is {text!r}, which no folder can be called.")
    if text == _TILDE or text.startswith("~/"):
        return Path(os.path.abspath(f"{_user_home(environ)}{text[1:]}"))
    if text.startswith(_TILDE):
        return Path(os.path.abspath(_home_of_another(text)))
    try:
        return Path(os.path.abspath(text))
    except FileNotFoundError:
        raise _unknown(
            f"TURNLOG_HOME is {text!r}, a relative path, and the current folder has been removed.",
        ) from None


def _user_home(environ: Mapping[str, str]) -> Path:
    if home := environ.get("HOME"):
        if not os.path.isabs(home):
            raise _unknown(f"HOME is {home!r}, which is not absolute.")
        return Path(home)
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        raise _unknown(
            f"HOME is not set, and user {os.getuid()} has no entry in the password file.",
        ) from None
    if not os.path.isabs(entry.pw_dir):
        raise _unknown(
            f"HOME is not set, and the password file names no home of user {os.getuid()}.",
        )
    return Path(entry.pw_dir)


def _home_of_another(text: str) -> str:
    """Return `~NAME` and `~NAME/…` with the home of that user."""
    name, _, rest = text[1:].partition("/")
    try:
        return os.path.join(pwd.getpwnam(name).pw_dir, rest)
    except KeyError:
        raise _unknown(f"TURNLOG_HOME is {text!r}, and there is no user {name!r}.") from None


def _unknown(why: str) -> UsageError:
    text = f"{why} Set TURNLOG_HOME to an absolute path, such as /srv/turnlog."
    return UsageError(ErrorCode.HOME_UNKNOWN, text)
