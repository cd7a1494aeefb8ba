"""Lets recorded facts happen again to the real actors."""
