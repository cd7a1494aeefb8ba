"""Load the configuration: find its layers, fold them, check the whole.

From the weakest to the strongest:

1. defaults
2. system: /etc/turnlog/config.toml
3. user: $TURNLOG_HOME/config.toml
4. profile: [profiles.NAME] of these two files
5. project: .turnlog/config.toml in the project's root, if the user's file trusts that root
6. environment: the variables of `sources.VARIABLES`
7. command line: each `-c KEY=VALUE` in order, then the options
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.runtime.config.foreign import without_foreign
from turnlog.runtime.config.home import CONFIG_NAME, PROJECT_FOLDER, SYSTEM_FILE, turnlog_home
from turnlog.runtime.config.layers import Layer, LayerName, Origin, Table, dotted, merge, suggestion
from turnlog.runtime.config.project import project_root
from turnlog.runtime.config.schema import BUILT_IN, Config
from turnlog.runtime.config.sources import assignment_layer, environment_layers, file_layer
from turnlog.runtime.config.structure import structure

_OF_THE_USER: Final = frozenset({"projects"})
_OF_NO_PROFILE: Final = frozenset({"profile", "profiles"})
_OF_NO_PROJECT: Final = _OF_NO_PROFILE | {
    "model_provider",
    "model_providers",
    "openai_base_url",
    "project_root_markers",
}
_REFUSED: Final[Mapping[LayerName, frozenset[str]]] = {
    "system": _OF_THE_USER,
    "profile": _OF_THE_USER | _OF_NO_PROFILE,
    "project": _OF_THE_USER | _OF_NO_PROJECT,
    "command line": _OF_THE_USER,
}
_WHY: Final[Mapping[LayerName, str]] = {
    "system": "only the user's own file may set it",
    "profile": "a profile may not set it",
    "project": "a project may not set providers, credentials, profiles or trust",
    "command line": "only the user's own file may set it",
}


def load_config(
    cwd: str | os.PathLike[str],
    *,
    environ: Mapping[str, str],
    profile: str | None = None,
    assignments: Iterable[str] = (),
    options: Table | None = None,
    system_file: Path = SYSTEM_FILE,
) -> Config:
    """Return the configuration for work in `cwd`.

    Args:
        profile: chooses a profile; wins over the key `profile`.
        assignments: `KEY=VALUE`, as `-c` takes them; a later one wins.
        options: keys that other command-line options stand for; they win over everything.

    Raises:
        UsageError: a file cannot be read, or keys are wrong; the text has all of those.
    """
    user_file = turnlog_home(environ) / CONFIG_NAME
    files = [
        layer
        for layer in (file_layer("system", system_file), file_layer("user", user_file))
        if layer is not None
    ]
    weak = [BUILT_IN, *files]
    strong = [
        *environment_layers(environ),
        *(assignment_layer(text) for text in assignments),
        *([Layer(Origin("command line", "command line"), options)] if options else []),
    ]
    config = _fold([*weak, *strong])
    if chosen := profile or config.profile:
        weak += _profile_layers(files, chosen, config)
        config = _fold([*weak, *strong])
    root = project_root(Path(os.path.abspath(cwd)), config.project_root_markers)
    project_file = root / PROJECT_FOLDER / CONFIG_NAME
    if _same(project_file, user_file) or not os.path.lexists(project_file):
        return config
    trust = _trust(root, config)
    if trust == "trusted":
        layer = file_layer("project", project_file)
        return _fold([*weak, *([layer] if layer is not None else []), *strong])
    if trust is None:
        warning = (
            f"{project_file} is not used, since this project is not trusted. To use it, add "
            f'{dotted(("projects", str(root)))}.trust_level = "trusted" to {user_file}.'
        )
        return attrs.evolve(config, warnings=(*config.warnings, warning))
    return config


def _fold(layers: list[Layer]) -> Config:
    for layer in layers:
        refused = _REFUSED.get(layer.origin.layer, frozenset()) & layer.values.keys()
        if refused:
            raise UsageError(
                ErrorCode.CONFIG_INVALID,
                f"{layer.origin}: {', '.join(sorted(refused))}: {_WHY[layer.origin.layer]}.",
            )
    merged, warnings = without_foreign(merge(layers))
    return attrs.evolve(structure(merged), warnings=warnings)


def _profile_layers(files: list[Layer], name: str, config: Config) -> list[Layer]:
    if name not in config.profiles:
        raise UsageError(
            ErrorCode.CONFIG_INVALID,
            f"there is no profile {name!r}: no file has a table [{dotted(('profiles', name))}]."
            + suggestion(name, config.profiles),
        )
    return [
        Layer(Origin("profile", f"{file.origin.where} [{dotted(('profiles', name))}]"), table)
        for file in files
        if (table := file.values.get("profiles", {}).get(name)) is not None
    ]


def _trust(root: Path, config: Config) -> str | None:
    """Return what the user's file says of `root`, whichever way its path is written."""
    real = os.path.realpath(root)
    for path, project in config.projects.items():
        if path == str(root) or os.path.realpath(path) == real:
            return project.trust_level
    return None


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
