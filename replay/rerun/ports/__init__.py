"""The ports of a recorded session, which answer by content."""
