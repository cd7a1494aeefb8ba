"""The page of the configuration: every key with its type, default, meaning and variable."""

from docs.generator.markdown import block, code, page, prose, section, table
from turnlog.runtime.config.layers import dotted
from turnlog.runtime.config.reference import NAME, Key, tables, top_keys

_INTRODUCTION = """
turnlog reads TOML files. From the weakest to the strongest source of a value:

1. the default
2. `/etc/turnlog/config.toml`
3. `$TURNLOG_HOME/config.toml` (`~/.turnlog/config.toml` where the variable is not set)
4. the chosen profile, a table `[profiles.NAME]` in one of these two files
5. `.turnlog/config.toml` in the project, if your own file trusts the project
6. environment variables
7. `-c KEY=VALUE` on the command line, then options such as `--model`

Tables are merged key by key. Every other value, a list too, is replaced as a whole. An unknown key
is an error that names the key you may have meant. Keys that only Codex knows are passed over with a
warning. `turnlog config` shows each value together with its source.

Two variables are not keys: `TURNLOG_HOME` is the folder of the store and of your configuration, and
`TURNLOG_DEBUG=1` shows the traceback of an error.

A server of your own, in `$TURNLOG_HOME/config.toml`:
"""

_EXAMPLE = """
model = "my-model"
model_provider = "mine"

[model_providers.mine]
base_url = "http://127.0.0.1:8000/v1"
"""

_HEAD = ("key", "type", "default", "meaning")


def configuration() -> str:
    """Return the page."""
    return page(
        "Configuration",
        _INTRODUCTION,
        block(_EXAMPLE.strip(), "toml"),
        section(2, "Keys at the top", table(_HEAD, [_row(key) for key in top_keys()])),
        section(2, "Tables", "A table holds keys of its own."),
        *(
            section(
                3,
                f"[{name}]",
                prose(one.meaning),
                table(_HEAD, [_row(key) for key in one.keys]),
                label=name,
            )
            for one in tables()
            for name in [dotted(one.path)]
        ),
    )


def _row(key: Key) -> tuple[str, str, str, str]:
    variable = f"Variable: {code(key.variable)}." if key.variable else ""
    default = "must be given" if key.required else "not set"
    return (
        code(key.path[-1] if key.path[-1] != NAME else key.path[0]),
        key.type,
        default if key.default is None else code(key.default),
        "<br>".join(filter(None, (f"{key.meaning}.", variable))),
    )
