"""Values as JSON text for programs, also where a string is not valid Unicode. Pure."""

import msgspec


def json_text(value: object) -> bytes:
    r"""Return `value` as JSON on one line, without the line end.

    Half of a surrogate pair is written as an escape, such as `\udcff`. A file name that is not
    UTF-8 has such halves, and a text from a model may have them.

    Args:
        value: what msgspec can encode: Structs, `Raw` and built-in types.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        import json  # seldom needed, and slower

        plain = msgspec.to_builtins(value, enc_hook=_decoded)
        return json.dumps(plain, separators=(",", ":")).encode()


def json_line(value: object) -> bytes:
    """Return `json_text` with its line end."""
    return json_text(value) + b"\n"


def _decoded(value: object) -> object:
    """Return what a `Raw` holds: the only type that `to_builtins` cannot convert itself."""
    import json

    if not isinstance(value, msgspec.Raw):
        raise NotImplementedError(f"{type(value).__name__} has no JSON form")
    return json.loads(bytes(value))
