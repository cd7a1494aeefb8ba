"""What the environment says about reaching a server: proxies, and which certificates to trust.

An error names the variable that cannot be used. Entries of NO_PROXY that cannot be read are
skipped: they cannot name a server that we ask.
"""

import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment

import attrs

_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})
_HINT: Final = "Set it to an address such as http://proxy.example:3128, or unset it."


class SurroundingsUnusable(Exception):
    """A variable of the environment cannot be used. Trying again is no help."""


@attrs.frozen
class Proxy:
    """Where requests go first."""

    url: str = attrs.field(repr=False)  # may hold a password
    variable: str  # that named it


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for an address; None: it is asked directly.

    Raises:
        SurroundingsUnusable: the variable for it holds no address of a proxy.
    """
    asked = urlsplit(url)
    proxies = getproxies_environment()
    if is_loopback(asked.hostname or "") or _is_excepted(asked, proxies.get("no", "")):
        return None
    for kind in (asked.scheme, "all"):
        if chosen := proxies.get(kind):
            return Proxy(_checked(chosen, kind, environ), _variable(kind, environ))
    return None


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine: `localhost`, or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def certificates(
    create: Callable[[], ssl.SSLContext], environ: Mapping[str, str]
) -> ssl.SSLContext:
    """Return whom to trust, as `create` makes it from the environment's variables.

    Raises:
        SurroundingsUnusable: a variable names something that cannot be read.
    """
    folder = environ.get("SSL_CERT_DIR")
    if folder and not environ.get("SSL_CERT_FILE") and not os.path.isdir(folder):
        _refuse("SSL_CERT_DIR", folder, "this is no folder")
    try:
        return create()
    except OSError as error:  # ssl.SSLError is one
        for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
            if path := environ.get(variable):
                _refuse(variable, path, error.strerror or str(error))
        raise


def _refuse(variable: str, path: str, why: str) -> NoReturn:
    raise SurroundingsUnusable(
        f"{variable} is {path!r}, and the certificates cannot be loaded: {why}. Set it to what "
        "is there, or unset it."
    )


def _checked(text: str, kind: str, environ: Mapping[str, str]) -> str:
    """Return the address of a proxy, with a scheme."""
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or brackets without an address in them
        usable = False
    if not usable:
        raise SurroundingsUnusable(
            f"{_variable(kind, environ)} holds no address of a proxy. {_HINT}"
        )
    return address


def _variable(kind: str, environ: Mapping[str, str]) -> str:
    """Return how the variable is spelled here."""
    name = f"{kind}_proxy"
    return name if environ.get(name) else name.upper()


def _is_excepted(asked: SplitResult, entries: str) -> bool:
    return any(_excepts(entry.strip(), asked) for entry in entries.split(","))


def _excepts(entry: str, asked: SplitResult) -> bool:
    """Say whether an entry of NO_PROXY is about `asked`.

    It is a name (with all below it), an address, a range of addresses or `*`, perhaps with a
    scheme before it and a port after it.
    """
    scheme, found, rest = entry.rpartition("://")
    if found and scheme != asked.scheme:
        return False
    host = asked.hostname or ""
    if rest == "*":
        return True
    if (inside := _in_range(rest.strip("[]"), host)) is not None:
        return inside
    try:
        named = urlsplit(f"//{rest}")
        name, port = named.hostname or "", named.port
    except ValueError:
        return False
    if port is not None and port != (asked.port or {"http": 80, "https": 443}.get(asked.scheme)):
        return False
    if (inside := _in_range(name, host)) is not None:
        return inside
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _in_range(text: str, host: str) -> bool | None:
    """Say whether `host` is an address in a range, or that one address; None: it is no range."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
