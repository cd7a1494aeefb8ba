r"""Recognising a shell command that does nothing but call apply_patch. Pure.

Only these two forms, as a whole script, with any delimiter for the here-document:

    apply_patch <<'EOF'            cd DIR && apply_patch <<'EOF'
    ...                            ...
    EOF                            EOF

Everything else is left to the shell. What a shell would expand (an unquoted delimiter with $, `
or \ in the text; the same or ~ in DIR) is not recognised, so that text and shell always agree.

Source: the two forms that Codex intercepts.
"""

import re
from typing import NamedTuple

_CALL = re.compile(
    r"""
    \s*
    (?: cd [ \t]+
        (?: '(?P<single>[^'\n]+)' | "(?P<double>[^"$`\\!\n]+)" | (?P<word>[\w./@%+,:=-]+) )
        [ \t]* && [ \t]* )?
    apply_patch [ \t]* << [ \t]*
    (?P<quote>['"]?) (?P<delimiter>[A-Za-z_]\w*) (?P=quote) [ \t]* \n
    """,
    re.VERBOSE | re.ASCII,
)
_EXPANDED = re.compile(r"[$`\\]")


class PatchCall(NamedTuple):
    """`workdir` is as written, perhaps relative: join it to the command's working directory."""

    text: str
    workdir: str | None


def detect_patch_call(script: str) -> PatchCall | None:
    """Return the patch that `script` applies, or None if it is any other command."""
    if (call := _CALL.match(script)) is None:
        return None
    body, ending, rest = f"{script}\n"[call.end() - 1 :].partition(f"\n{call['delimiter']}\n")
    text = body[1:] + "\n"
    if not ending or rest.strip() or (not call["quote"] and _EXPANDED.search(text)):
        return None
    workdir = call["single"] or call["double"] or call["word"]
    if workdir is not None and workdir.startswith("-"):
        return None
    return PatchCall(text, workdir)
