"""`turnlog exec`: the request, the run, and how it is reported."""
