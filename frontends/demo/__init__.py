"""`turnlog demo`: one session from its first prompt to the proof, offline."""
