"""The vocabulary: ids, ops, items, events, errors and wire formats. No I/O, no trio."""
