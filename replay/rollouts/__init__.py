"""Codex rollouts: read as sessions of turnlog, and written for Codex to resume."""
