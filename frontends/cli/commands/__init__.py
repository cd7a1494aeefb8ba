"""One file for each command. A file is imported when its command is called."""
