"""A model provider: its address, its key, and how long to wait for it."""

import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import attrs

from turnlog.actors.ports import ModelCallFailed
from turnlog.protocol.calls import ModelFailure
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable, UsageError
from turnlog.protocol.settings import RetryLimits

CredentialSource = Callable[[], Awaitable[str | None]]  # may raise Unavailable, whose text is shown

MAX_RETRIES: Final = 100
_NO_TEXTS: Final[Mapping[str, str]] = MappingProxyType({})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def _check_base_url(provider: "Provider", _: object, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            ErrorCode.CONFIG_INVALID,
            f"model_providers.{provider.name}.base_url is {url!r}; it must be an address that "
            "begins with http:// or https://, such as http://127.0.0.1:8080/v1.",
        )


@attrs.frozen
class Provider:
    """One `[model_providers.NAME]`, which speaks the Responses API below `base_url`.

    Its key is the value of the variable `env_key`, or else what `credential` gives. With neither
    it is called without a key, as a server on this machine is. Its address, headers and
    parameters may hold secrets and are not shown.

    Raises:
        UsageError: `base_url` is not an http or https address.
    """

    name: str
    base_url: str = attrs.field(validator=_check_base_url, repr=False)
    env_key: str | None = None
    credential: CredentialSource | None = None
    http_headers: Mapping[str, str] = attrs.field(default=_NO_TEXTS, repr=False)
    env_http_headers: Mapping[str, str] = _NO_TEXTS  # header -> variable; unset ones are left out
    query_params: Mapping[str, str] = attrs.field(default=_NO_TEXTS, repr=False)
    request_max_retries: int = 4
    stream_max_retries: int = 5
    stream_idle_timeout_ms: int = 300_000
    connect_timeout_ms: int = 15_000
    first_byte_timeout_ms: int | None = None  # None: as long as a stream may be silent

    @property
    def url(self) -> str:
        """The address that requests are posted to."""
        parts = urlsplit(self.base_url)
        query = "&".join(filter(None, (parts.query, urlencode(self.query_params))))
        return urlunsplit((parts.scheme, parts.netloc, self._path, query, ""))

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters, for messages."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], self._path, "", ""))

    @property
    def _path(self) -> str:
        return urlsplit(self.base_url).path.rstrip("/") + "/responses"

    def retry_limits(self) -> RetryLimits:
        """Return what a turn's settings take over from this provider."""
        return RetryLimits(
            request_max_retries=min(self.request_max_retries, MAX_RETRIES),
            stream_max_retries=min(self.stream_max_retries, MAX_RETRIES),
            stream_idle_timeout_ms=self.stream_idle_timeout_ms,
        )

    async def headers(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the provider's own headers, its key among them. Names are in lower case.

        Raises:
            ModelCallFailed: `credential_missing`; or a header cannot be sent (`bad_request`).
        """
        key = await self._key(environ)
        named = {
            **({"authorization": f"Bearer {key}"} if key else {}),
            **self.http_headers,
            **{
                header: value
                for header, variable in self.env_http_headers.items()
                if (value := environ.get(variable, "").strip())
            },
        }
        for header, value in named.items():
            if not (_HEADER_NAME.fullmatch(header) and _HEADER_VALUE.fullmatch(value)):
                raise ModelCallFailed(
                    ModelFailure(
                        "bad_request",
                        f"the header {header!r} of model provider {self.name!r} cannot be sent: "
                        "names are ASCII without blanks, values are printable ASCII.",
                    )
                )
        return {header.lower(): value for header, value in named.items()}

    async def _key(self, environ: Mapping[str, str]) -> str | None:
        if self.env_key and (key := environ.get(self.env_key, "").strip()):
            return key
        if self.credential and (key := await _ask(self.credential)):
            return key
        if self.env_key:
            why = (
                f"set the environment variable {self.env_key}, or name another one as `env_key` "
                f"in [model_providers.{self.name}]."
            )
        elif self.credential:
            why = f"the credential source of [model_providers.{self.name}] gave none."
        else:
            return None
        message = f"model provider {self.name!r} needs a key: {why}"
        raise ModelCallFailed(ModelFailure("credential_missing", message))


async def _ask(credential: CredentialSource) -> str:
    try:
        return (await credential() or "").strip()
    except Unavailable as error:
        raise ModelCallFailed(ModelFailure("credential_missing", str(error))) from error


OPENAI: Final = Provider("openai", "https://api.openai.com/v1", env_key="OPENAI_API_KEY")
