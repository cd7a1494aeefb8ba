"""The documentation: its pages, and the generators of those that are made from the code."""
