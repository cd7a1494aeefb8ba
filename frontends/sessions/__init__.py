"""What every front-end needs of sessions. Nothing here prints or knows a command line."""
