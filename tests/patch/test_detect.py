import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.runtime.patch.detect import PatchCall, detect_patch_call

PATCH = "*** Begin Patch\n*** Delete File: it's $HOME\n*** End Patch\n"
PLAIN = "*** Begin Patch\n*** Delete File: a\n*** End Patch\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"apply_patch <<'EOF'\n{PATCH}EOF", PatchCall(PATCH, None)),
        (f'\n  apply_patch << "PATCH"\n{PATCH}PATCH\n\n', PatchCall(PATCH, None)),
        (f"apply_patch <<EOF\n{PLAIN}EOF\n", PatchCall(PLAIN, None)),
        (f"cd sub/dir && apply_patch <<'EOF'\n{PATCH}EOF\n", PatchCall(PATCH, "sub/dir")),
        (f"cd '/a b/$c' && apply_patch <<'EOF'\n{PATCH}EOF", PatchCall(PATCH, "/a b/$c")),
        (f"cd \"a b\"&&apply_patch <<'EOF'\n{PATCH}EOF", PatchCall(PATCH, "a b")),
    ],
)
def test_the_exact_forms_are_recognised(script: str, expected: PatchCall) -> None:
    assert detect_patch_call(script) == expected


@pytest.mark.parametrize(
    "script",
    [
        "",
        "apply_patch",
        PATCH,
        f"apply_patch '{PLAIN}'",
        f"apply_patch <<EOF\n{PATCH}EOF",
        f"apply_patch <<-'EOF'\n{PATCH}EOF",
        f"apply_patch <<'EOF'\n{PATCH}EOF && rm -rf x",
        f"apply_patch <<'EOF'\n{PATCH}EOF\nrm -rf x",
        f"apply_patch <<'EOF' && rm -rf x\n{PATCH}EOF",
        f"apply_patch <<'EOF' > log\n{PATCH}EOF",
        f"apply_patch <<'EOF\"\n{PATCH}EOF",
        f"apply_patch <<'EOF'\n{PATCH} EOF",
        f"apply_patch <<'EOF'\n{PATCH}",
        f"apply_patch x <<'EOF'\n{PATCH}EOF",
        f"cd a; apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd a || apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd ~/a && apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd \"$X\" && apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd a* && apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd - && apply_patch <<'EOF'\n{PATCH}EOF",
        f"cd a && cd b && apply_patch <<'EOF'\n{PATCH}EOF",
        f"echo hi && apply_patch <<'EOF'\n{PATCH}EOF",
        f"X=1 apply_patch <<'EOF'\n{PATCH}EOF",
    ],
)
def test_everything_else_is_left_to_the_shell(script: str) -> None:
    assert detect_patch_call(script) is None


def test_only_the_first_closing_delimiter_counts() -> None:
    assert detect_patch_call(f"apply_patch <<'EOF'\n{PATCH}EOF\nrm x\nEOF") is None


@given(st.text("ab'\"$\\`\n EOF", max_size=40))
def test_a_quoted_document_is_taken_whole_or_not_at_all(text: str) -> None:
    call = detect_patch_call(f"apply_patch <<'EOF'\n{text}\nEOF\n")
    assert call == (None if "EOF" in text.split("\n") else PatchCall(text + "\n", None))


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_hands_apply_patch_the_same_text(tmp_path: Path, quote: str) -> None:
    script = f"cd 'a b' && apply_patch <<{quote}EOF{quote}\n*** it's (a) \"b\" !x #y\nEOF\n"
    (tmp_path / "a b").mkdir()
    function = 'apply_patch() { printf "%s\\n" "${PWD##*/}"; cat; }\n'
    result = subprocess.run(
        ["bash", "-c", function + script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    call = detect_patch_call(script)
    assert call is not None
    assert result.stdout == f"{call.workdir}\n{call.text}"
