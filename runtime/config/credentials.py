"""Find the key of a model provider: in the environment, by a command, or in the OS keyring.

A key is never written down, logged or shown: no `repr` and no error has it.
"""

import contextlib
import importlib
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable
from turnlog.runtime.config.schema import ProviderConfig

_MAX_KEY: Final = 64 << 10  # bytes that a command may print


class _NotFound(Exception):
    """One source has no key; the text says why, and never what was found instead."""


@attrs.define
class Credential:
    """The key of one provider, looked up when it is first asked for, and then kept.

    A failure is not kept: what was missing may have been set since.
    """

    provider_id: str
    provider: ProviderConfig
    environ: Mapping[str, str] = attrs.field(repr=False)
    _key: str | None = attrs.field(default=None, init=False, repr=False)
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)

    async def key(self) -> str | None:
        """Return the key; None if the provider is configured to need none.

        Raises:
            Unavailable: no source has one; the text says what to set.
        """
        async with self._lock:
            if self._key is None:
                self._key = await self._look()
            return self._key

    async def _look(self) -> str | None:
        provider, reasons = self.provider, list[str]()
        try:
            if provider.env_key is not None:
                return _from_environment(provider.env_key, self.environ)
        except _NotFound as error:
            reasons.append(str(error))
        try:
            if provider.key_command:
                return await _from_command(provider, self.environ)
        except _NotFound as error:
            reasons.append(str(error))
        try:
            if provider.keyring is not None:
                return await trio.to_thread.run_sync(_from_keyring, provider.keyring)
        except _NotFound as error:
            reasons.append(str(error))
        if not reasons:
            return None
        raise Unavailable(ErrorCode.CREDENTIAL_MISSING, self._advice(reasons))

    def _advice(self, reasons: list[str]) -> str:
        table = f"[model_providers.{self.provider_id}]"
        if self.provider.env_key is not None:
            what = f"Set {self.provider.env_key}, or name another source in {table}: "
        else:
            what = f"Fix that, or name another source in {table}: "
        return (
            f"the model provider {self.provider_id!r} needs a key, and none was found: "
            f"{'; '.join(reasons)}. {what}"
            'env_key = "NAME", key_command = ["pass", "show", "NAME"] or keyring = "SERVICE/USER".'
        )


def _from_environment(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "").strip()
    if not value:
        raise _NotFound(f"the environment variable {variable} is not set")
    return _usable(value, f"the environment variable {variable}")


async def _from_command(provider: ProviderConfig, environ: Mapping[str, str]) -> str:
    """Run `key_command`, in its own process group, of which nothing is left on return."""
    name = f"the command {provider.key_command[0]!r}"
    try:
        process = await trio.lowlevel.open_process(
            provider.key_command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=dict(environ),
        )
    except OSError as error:
        raise _NotFound(f"{name} cannot be run: {error.strerror}") from None
    output = b""
    try:
        with trio.move_on_after(provider.key_command_timeout_ms / 1000) as scope:
            output = await _read_all(process, name)
            await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
    if scope.cancelled_caught:
        raise _NotFound(f"{name} had not ended after {provider.key_command_timeout_ms} ms")
    if process.returncode != 0:
        raise _NotFound(f"{name} failed with exit code {process.returncode}")
    return _usable(output.decode(errors="replace").strip(), name)


async def _read_all(process: trio.Process, name: str) -> bytes:
    assert process.stdout is not None
    output = b""
    async for chunk in process.stdout:
        output += chunk
        if len(output) > _MAX_KEY:
            raise _NotFound(f"{name} printed more than {_MAX_KEY} bytes")
    return output


async def _end(process: trio.Process) -> None:
    """Kill what is left of the group, and reap its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


def _from_keyring(place: str) -> str:
    """Ask the keyring. Runs in a thread: a keyring may ask its user."""
    service, _, user = place.partition("/")
    try:
        keyring: Any = importlib.import_module("keyring")
    except ModuleNotFoundError:
        raise _NotFound("the keyring is not installed (pip install 'turnlog[keyring]')") from None
    try:
        key = keyring.get_password(service, user)
    except Exception as error:  # each backend has its own
        raise _NotFound(f"the keyring does not answer ({type(error).__name__})") from None
    if not key:
        raise _NotFound(f"the keyring has no password for {user!r} at {service!r}")
    return _usable(str(key).strip(), "the keyring")


def _usable(key: str, source: str) -> str:
    """Return a key that can be sent in a header."""
    if not key:
        raise _NotFound(f"{source} gave nothing")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise _NotFound(f"{source} gave something that is no key: one line of ASCII is expected")
    return key
