"""The past: rebuild and verify recorded sessions, offline."""
