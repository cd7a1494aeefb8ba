"""What a command line says about settings: its `-c`, `-p` and `-C`, for new and old sessions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from turnlog.protocol.settings import SessionSettings, SettingsUpdate

if TYPE_CHECKING:
    from turnlog.runtime.config.layers import LayerName
    from turnlog.runtime.config.schema import Config


class ChosenSettings(Struct, frozen=True):
    """What a command line says, before any file is read."""

    assignments: tuple[str, ...] = ()  # each `-c KEY=VALUE`
    profile: str | None = None  # `-p NAME`
    folder: str | None = None  # `-C DIR`

    def load(
        self, cwd: str, environ: Mapping[str, str], options: dict[str, Any] | None = None
    ) -> "Config":
        """Return the configuration for work in `cwd`, with what the command line says.

        Args:
            options: keys that further options stand for; they win.

        Raises:
            UsageError: the configuration cannot be used.
        """
        from turnlog.runtime.config.load import load_config

        return load_config(
            cwd,
            environ=environ,
            profile=self.profile,
            assignments=self.assignments,
            options=options,
        )

    def update(self, config: "Config", cwd: str) -> SettingsUpdate:
        """Return what changes in a session that exists: what the command line names, no more.

        Raises:
            UsageError: the name of `cwd` is not UTF-8.
        """
        named = self.named(config, cwd)
        fields = SettingsUpdate.__struct_fields__  # the others stay what they were at the start
        return SettingsUpdate(**{field: named[field] for field in named if field in fields})

    def named(self, config: "Config", cwd: str) -> dict[str, Any]:
        """Return the fields of `SessionSettings` that the command line names, with their values.

        Raises:
            UsageError: the name of `cwd` is not UTF-8.
        """
        settings = config.session_settings(cwd)
        fields = set(config.settings_set_in(self._layers))
        if self.folder is not None:
            fields.add("cwd")
        return {field: getattr(settings, field) for field in fields}

    def kept_provider(self, config: "Config", session: SessionSettings) -> str | None:
        """Return a warning, if the command line names another provider than the session has."""
        kept = session.model_provider
        named = config.settings_set_in(self._layers)
        if "model_provider" not in named or config.model_provider == kept:
            return None
        return (
            f"the session keeps its model provider {kept!r}: another provider cannot read its "
            f"reasoning. To use {config.model_provider!r}, start a new session."
        )

    @property
    def _layers(self) -> set["LayerName"]:
        return {"command line", "profile"} if self.profile else {"command line"}


def changes_nothing(update: SettingsUpdate) -> bool:
    """Say whether an update leaves every setting as it is."""
    return all(getattr(update, name) is UNSET for name in update.__struct_fields__)
