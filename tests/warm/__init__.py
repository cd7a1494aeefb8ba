"""Programs in forks of one interpreter, which has imported turnlog once.

A test of a command needs a process, with streams, signals, a current folder, an environment and
locks of its own. But the process need not import 300 modules again: that takes much longer than
most commands do. So one process imports them, and each program runs in a fork of it. A program
that needs the start of an interpreter, such as for another locale, gets a new process.
"""
