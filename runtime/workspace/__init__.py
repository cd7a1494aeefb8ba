"""The user's files: what stood where, what changed, and how to bring it back."""
