"""Configurations that cannot be used: each error names its place, the key and what is wrong."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import UsageError
from turnlog.protocol.settings import ShellEnvironmentPolicy
from turnlog.runtime.config import Config, ProviderConfig, load_config
from turnlog.runtime.config.layers import Layer, Origin, Table, merge
from turnlog.runtime.config.problems import find_problems
from turnlog.runtime.config.schema import BUILT_IN, key_names
from turnlog.runtime.config.structure import structure


@attrs.frozen
class Place:
    """A machine with its configuration files."""

    system: Path
    user: Path

    def load(self, *assignments: str, **variables: str) -> Config:
        return load_config(
            "/",
            environ={"TURNLOG_HOME": str(self.user.parent), **variables},
            assignments=assignments,
            system_file=self.system,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "home").mkdir()
    return Place(tmp_path / "system.toml", tmp_path / "home" / "config.toml")


def error_of(place: Place, *assignments: str, **variables: str) -> str:
    with raises_code(ErrorCode.CONFIG_INVALID) as caught:
        place.load(*assignments, **variables)
    return str(caught.value)


def test_all_errors_are_named_at_once_each_with_its_place(place: Place) -> None:
    place.system.write_text('approval_policy = "nevr"')
    place.user.write_text(
        """
        modle = "x"
        model = 3
        sandbox_workspace_write = 5
        project_root_markers = ".git"
        [model_providers.q]
        bse_url = "http://x"
        request_max_retries = 1000
        http_headers = { Authorization = 12345 }
        [model_providers]
        z = 2026-01-01
        [history]
        persistence = true
        """
    )
    found = set(error_of(place, "model_context_window=0", "warnings=[]").split("\n  "))
    system, user = f"{place.system} (system)", f"{place.user} (user)"
    assert found == {
        "the configuration has errors:",
        f'{system}: approval_policy: expected one of "untrusted", "on-request", "on-failure", '
        '"never", found "nevr". Did you mean "never"?',
        f'{user}: modle: there is no such key. Did you mean "model"?',
        f"{user}: model: expected a text, found 3.",
        f"{user}: sandbox_workspace_write: expected a table, found 5.",
        f'{user}: project_root_markers: expected a list of texts, found ".git".',
        f"{user}: model_providers.q.base_url: it is missing; expected a text.",
        f'{user}: model_providers.q.bse_url: there is no such key. Did you mean "base_url"?',
        f"{user}: model_providers.q.request_max_retries: expected a whole number of at least 0 "
        "and at most 100, found 1000.",
        f"{user}: model_providers.q.http_headers.Authorization: expected a text, "
        "found a value of type int.",
        f"{user}: model_providers.z: expected a table, found 2026-01-01.",
        f'{user}: history.persistence: expected one of "save-all", "none", found true.',
        "-c model_context_window (command line): model_context_window: expected a whole number "
        "of at least 1, found 0.",
        "-c warnings (command line): warnings: there is no such key.",
    }


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (
            "model_provider=opnai",
            'there is no provider "opnai"; configured are openai. Did you mean "openai"?',
        ),
        ("openai_base_url=ftp://x", "expected a URL that begins with http:// or https://"),
        ("openai_base_url=http://", "expected a URL"),
        ("openai_base_url=http://[x", "expected a URL"),
        ("openai_base_url=http://me:secret@x", "without a user or a password"),
        ("model_providers.openai.keyring=x", 'expected SERVICE/USER, found "x".'),
        ("model_providers.openai.wire_api=chat", 'expected "responses", found "chat".'),
        (
            'sandbox_workspace_write.writable_roots=["x"]',
            'expected absolute paths, found "x".',
        ),
    ],
)
def test_what_types_do_not_say_is_checked_too(
    place: Place, assignment: str, complaint: str
) -> None:
    text = error_of(place, assignment)
    assert complaint in text
    assert text.startswith(f"-c {assignment.partition('=')[0]} (command line): ")
    assert "secret" not in text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'model = "x"\nbroken', ", line 2"),
        (b"model = \n", ", line 1, column 9: this is not TOML: Invalid value."),
        (b'model = "x', ", line 1"),
        (b'a = 1\n\nb = "\xff"', ", line 3: byte 0xff is not UTF-8"),
        (b"a = " + b"[" * 5000, ": tables or lists are nested too deeply."),
        (b".".join([b"a"] * 500) + b" = 1", ": tables or lists are nested too deeply."),
        (b"#" * (2 << 20), ": the configuration cannot be read: it is longer than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_its_line(
    place: Place, data: bytes, text: str
) -> None:
    place.user.write_bytes(data)
    assert error_of(place).startswith(f"{place.user}{text}")


def test_what_is_no_file_is_said_to_be_none(place: Place) -> None:
    place.user.mkdir()
    assert "cannot be read: Is a directory." in error_of(place)
    place.user.rmdir()
    os.mkfifo(place.user)
    assert "cannot be read: it is not a regular file." in error_of(place)
    place.user.unlink()
    place.user.symlink_to(place.user)
    assert "cannot be read: Too many levels of symbolic links." in error_of(place)
    place.user.unlink()
    place.user.parent.rmdir()
    place.user.parent.write_text("a file where the home should be")
    assert "cannot be read: Not a directory." in error_of(place)


def test_a_variable_that_is_not_utf8_is_named(place: Place) -> None:
    assert error_of(place, TURNLOG_MODEL="\udcff") == "$TURNLOG_MODEL: the value is not UTF-8."


def test_a_right_configuration_is_loaded_without_what_only_errors_need(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from turnlog.runtime.config import *; "
        f"load_config('/', environ={{'TURNLOG_HOME': {str(tmp_path)!r}}}, "
        f"system_file=Path({str(tmp_path)!r}, 'none'), assignments=['model=x']); "
        "print(*{'cattrs', 'difflib', 'json', 'trio', 'keyring'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == ("\n", "")


MIXED = st.one_of(
    st.sampled_from(["never", "low", "strict", "none", "http://x", "core", ""]),
    st.integers(-1, 200),
    st.booleans(),
    st.floats(allow_nan=False),
    st.lists(st.one_of(st.text(max_size=2), st.integers()), max_size=2),
)


def tables(kind: type, extra: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Table]:
    names = {name: extra.get(name, MIXED) for name in key_names(kind)}
    return st.fixed_dictionaries({}, optional={**names, "bogus": MIXED})


TEXTS = st.dictionaries(st.sampled_from("ab"), MIXED, max_size=2)
PROVIDERS = st.dictionaries(
    st.sampled_from("pq"),
    st.one_of(MIXED, tables(ProviderConfig, {"http_headers": TEXTS})),
    max_size=2,
)


@given(
    tables(
        Config,
        {
            "model_providers": st.one_of(MIXED, PROVIDERS),
            "shell_environment_policy": tables(ShellEnvironmentPolicy, {"set": TEXTS}),
        },
    )
)
def test_the_quick_check_and_the_one_that_explains_agree(values: Table) -> None:
    problems = find_problems(values)
    try:
        structure(merge([BUILT_IN, Layer(Origin("user", "f"), values)]))
    except UsageError as error:
        is_contradiction = any(
            word in str(error) for word in ("expected a URL", "SERVICE/USER", "no provider")
        )
        assert bool(problems) or is_contradiction
    else:
        assert problems == []
