"""A session as a text to be read by people: Markdown, or one HTML page."""
