"""The program between the engine and a command: it confines and attends it, and cleans up.

Run as `python -I -S FOLDER/__main__.py OPTIONS -- ARGV`. It starts once for each command, so it
uses only the fastest modules of the standard library (to let Python run a folder costs as much as
all of them). Its modules name each other by relative imports: as a program the package is called
`launcher`, and importing `turnlog` would double its start.
"""
