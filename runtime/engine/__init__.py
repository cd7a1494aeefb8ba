"""The engine: opens, runs and closes sessions."""
