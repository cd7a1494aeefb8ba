"""A denial is guessed from what a confined command says."""

import pytest

from turnlog.runtime.sandbox.denial import denial


@pytest.mark.parametrize(
    ("exit_code", "output", "expected"),
    [
        (1, "touch: cannot touch 'a': Read-only file system\n", "read-only file system"),
        (1, "bash: a: Permission denied", "permission denied"),
        (159, "", "SIGSYS"),
        (0, "permission denied", None),
        (127, "permission denied", None),
        (1, "assertion failed", None),
        (1, "permission denied" + "x" * 70_000, None),
    ],
)
def test_a_denial_is_told_by_a_word_of_a_failed_command(
    exit_code: int, output: str, expected: str | None
) -> None:
    assert denial(exit_code, output) == expected
