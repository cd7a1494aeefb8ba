"""A model that says what a script tells it to: a real HTTP server for demos and tests."""
