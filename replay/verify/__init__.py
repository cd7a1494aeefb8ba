"""Compares today's decisions with the recorded ones: offline, and without any port."""
