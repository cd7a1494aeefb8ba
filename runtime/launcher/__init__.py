"""The program that stands between the engine and a command: it confines, attends and tidies up.

Run as `python -I -S FOLDER/__main__.py OPTIONS -- ARGV`. It starts once for each command, so it
takes the standard library's quickest modules only (Python's own way to run a folder costs as much
as all of them), and its modules name each other by relative imports: as a program the package is
called `launcher`, and importing `turnlog` would double its start.
"""
