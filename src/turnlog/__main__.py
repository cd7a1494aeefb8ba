"""`python -m turnlog` is the command `turnlog`."""

from turnlog.frontends.cli import main

main()
