"""Codex's keys that turnlog does not use yet: a Codex configuration is accepted, and says so."""

from typing import Final

from msgspec import structs

from turnlog.runtime.config.layers import Merged

# Source: Codex's configuration reference and the options that its SDK passes.
KEYS: Final = frozenset(
    {
        "allow_login_shell",
        "analytics",
        "apps",
        "check_for_update_on_startup",
        "chatgpt_base_url",
        "cli_auth_credentials_store",
        "cli_auth_credentials_store_mode",
        "default_permissions",
        "disable_paste_burst",
        "disable_response_storage",
        "experimental_use_rmcp_client",
        "experimental_use_unified_exec_tool",
        "features",
        "feedback",
        "file_opener",
        "forced_login_method",
        "hooks",
        "log_dir",
        "mcp_oauth_credentials_store",
        "mcp_oauth_credentials_store_mode",
        "mcp_servers",
        "memories",
        "model_catalog_json",
        "model_instructions_file",
        "model_max_output_tokens",
        "model_supports_reasoning_summaries",
        "notice",
        "notify",
        "otel",
        "permissions",
        "personality",
        "plugins",
        "service_tier",
        "skills",
        "sqlite_home",
        "tool_output_token_limit",
        "tools",
        "tui",
        "web_search",
    }
)


def without_foreign(merged: Merged) -> tuple[Merged, tuple[str, ...]]:
    """Return `merged` without Codex's other keys, and a warning for each of these."""
    found = sorted(KEYS & merged.values.keys())
    if not found:
        return merged, ()
    ours = structs.replace(
        merged,
        values={name: value for name, value in merged.values.items() if name not in KEYS},
        origins={path: origin for path, origin in merged.origins.items() if path[0] not in KEYS},
    )
    warnings = (f"{merged.origin((name,))}: {name} is not used by turnlog yet." for name in found)
    return ours, tuple(warnings)
