"""Recorded ports: a model and tools that answer from a session's events, and never otherwise."""
