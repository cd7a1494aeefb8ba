"""Runs a recorded session again: live, or with some of its ports as they were recorded."""
