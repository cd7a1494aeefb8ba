"""Sessions as portable files: written, read, redacted and put into a store."""
