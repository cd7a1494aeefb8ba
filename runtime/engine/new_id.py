"""Ids that are drawn, not computed: each is a fact."""

import uuid_utils


def new_id() -> str:
    """Return a fresh UUIDv7."""
    return str(uuid_utils.uuid7())
