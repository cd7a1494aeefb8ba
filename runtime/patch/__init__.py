"""The apply_patch engine: parse an envelope, plan it in memory, write it.

Standard library only, and few modules of that: this package also runs as a short-lived child in
a sandbox (`python -I -X utf8 -m turnlog.runtime.patch --cwd DIR`), where the kernel refuses what a
path check in the engine's process could be tricked about by links and renames.
"""
