"""Confines what a command may write and reach: bubblewrap, or landlock where it is missing."""
