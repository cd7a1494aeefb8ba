"""State from the log: folding, and snapshots that shorten it."""
