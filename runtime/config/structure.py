"""Turn merged tables into a `Config`, and check what its types do not say."""

import os
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import attrs
import msgspec

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.json_values import is_object
from turnlog.runtime.config.layers import KeyPath, Merged, dotted, quote, suggestion
from turnlog.runtime.config.schema import Config, key_names


def structure(merged: Merged) -> Config:
    """Return the configuration that `merged` says, with the origins of its keys.

    msgspec converts a right configuration in a millisecond. It stops at the first error and
    does not name its key, so a wrong one is walked again, with cattrs (see `problems`).

    Raises:
        UsageError: names each wrong key with its file, what was expected and what was found.
    """
    try:
        config = msgspec.convert(merged.values, Config)
    except msgspec.ValidationError:
        config = None
    if config is None or not all(_is_known(path, config) for path in merged.origins):
        from turnlog.runtime.config.problems import find_problems

        raise invalid(merged, find_problems(merged.values))
    config = attrs.evolve(config, origins=merged.origins)
    if contradictions := list(_contradictions(config)):
        raise invalid(merged, contradictions)
    return config


def _is_known(path: KeyPath, config: Config) -> bool:
    """Whether a converted configuration has this key: msgspec skips unknown ones."""
    node: object = config
    for part in path:
        if is_object(node):
            node = node.get(part)
        elif part in key_names(type(node)):
            node = getattr(node, part)
        else:
            return False
    return True


def invalid(merged: Merged, problems: Iterable[tuple[KeyPath, str]]) -> UsageError:
    """Return the error that lists `problems`, each with the origin of its key."""
    lines = [f"{merged.origin(path)}: {dotted(path)}: {text}" for path, text in problems]
    if len(lines) == 1:
        return UsageError(ErrorCode.CONFIG_INVALID, lines[0])
    return UsageError(
        ErrorCode.CONFIG_INVALID, "the configuration has errors:\n  " + "\n  ".join(lines)
    )


def _contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    known = config.providers
    if config.model_provider not in known:
        yield (
            ("model_provider",),
            f"there is no provider {quote(config.model_provider)}; configured are "
            f"{', '.join(known)}.{suggestion(config.model_provider, known)}",
        )
    if config.openai_base_url is not None and (why := _bad_url(config.openai_base_url)):
        yield ("openai_base_url",), why
    for id_, provider in config.model_providers.items():
        if why := _bad_url(provider.base_url):
            yield ("model_providers", id_, "base_url"), why
        if provider.keyring is not None and not all(provider.keyring.partition("/")):
            yield (
                ("model_providers", id_, "keyring"),
                f"expected SERVICE/USER, found {quote(provider.keyring)}.",
            )
    for root in config.sandbox_workspace_write.writable_roots:
        if not os.path.isabs(root):
            yield (
                ("sandbox_workspace_write", "writable_roots"),
                f"expected absolute paths, found {quote(root)}.",
            )
    for root in config.projects:
        if not os.path.isabs(root):
            yield ("projects", root), "expected an absolute path as the name."


def _bad_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        fits = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        )
    except ValueError:
        fits = False
    if fits:
        return None
    return (
        "expected a URL that begins with http:// or https:// and names a host, without a user "
        "or a password (keys go into env_key, key_command or keyring)."
    )
