"""The page of scripts for the scripted model: the fields of a script and of a response."""

from docs.generator.markdown import code, page, prose, section, table
from turnlog.runtime.config.field_comments import documentation, fields_of
from turnlog.runtime.scripted_model.script import Response, Script

_INTRODUCTION = """
`turnlog scripted-model FILE` serves the Responses API from a script: a file of JSON or TOML. The
short forms of items are on the page of [file formats](../file-formats.md). These are all fields:
"""


def script() -> str:
    """Return the page."""
    return page(
        "Scripts for the scripted model",
        _INTRODUCTION,
        *(
            section(
                2,
                f"A {kind.__name__.lower()}",
                prose(documentation(kind).partition("\n\nRaises:")[0]),
                table(
                    ("field", "type", "default", "meaning"),
                    [
                        (
                            code(field.name),
                            code(field.type),
                            code(field.default or ""),
                            field.meaning,
                        )
                        for field in fields_of(kind)
                    ],
                ),
            )
            for kind in (Script, Response)
        ),
    )
