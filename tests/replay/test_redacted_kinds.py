"""Redaction of what only some kinds of events hold: paths as keys, and files in base64."""

import re
from base64 import b64decode, b64encode

from turnlog.protocol.events import FilesSaved, TurnsRestored
from turnlog.protocol.files import FileImage, FileMark, RestoredFile
from turnlog.protocol.ids import EffectId
from turnlog.replay.files.redact import Redaction

PATTERNS = [re.compile("hunter2")]


def test_paths_that_are_keys_are_redacted() -> None:
    restored = TurnsRestored(
        EffectId("1.undo.0"),
        (RestoredFile("/home/hunter2/a", "restored", "hunter2 was there"),),
        {"/home/hunter2/a": FileMark("file", "00ff")},
    )
    assert Redaction(PATTERNS).struct(restored) == TurnsRestored(
        EffectId("1.undo.0"),
        (RestoredFile("/home/[redacted-1]/a", "restored", "[redacted-1] was there"),),
        {"/home/[redacted-1]/a": FileMark("file", "00ff")},
    )


def test_what_is_kept_of_a_file_is_redacted_in_text_and_in_base64() -> None:
    content = b64encode(b"\xff hunter2 \x00").decode()
    saved = FilesSaved(
        EffectId("1.tool.0"),
        (FileImage("/a", text="password=hunter2"), FileImage("/b", base64=content)),
    )
    text, binary = Redaction(PATTERNS).struct(saved).files
    assert text.text == "password=[redacted-1]"
    assert b64decode(binary.base64 or "") == b"\xff [redacted-1] \x00"
