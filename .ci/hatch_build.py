"""Put the manual pages into a wheel, where `make man` has built them."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface):
    """Installs `man/*.1` below share/man/man1. An editable install has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add each page to what the wheel installs."""
        if version == "editable":
            return
        for page in sorted(Path(self.root, "man").glob("*.1")):
            build_data["shared_data"][str(page)] = f"share/man/man1/{page.name}"
