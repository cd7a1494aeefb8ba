"""The diff of what a turn changed."""
