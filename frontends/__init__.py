"""The doors: the command line and the line protocol of `turnlog exec --json`."""
