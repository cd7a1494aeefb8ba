"""The reference of the configuration: `config --all`, and a template that can be used as it is."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnlog.frontends.cli import run
from turnlog.frontends.cli.commands.config import template_text
from turnlog.runtime.config.load import load_config
from turnlog.runtime.config.reference import Key, keys
from turnlog.runtime.config.schema import Config

KEYS = list(keys())
TEMPLATE = template_text()
Load = Callable[[str], Config]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return what loads a text as the user's configuration."""
    home = tmp_path_factory.mktemp("home")

    def loaded(text: str) -> Config:
        (home / "config.toml").write_text(text)
        environ = {"TURNLOG_HOME": str(home), "HOME": str(home)}
        return load_config(home, environ=environ, system_file=Path("/nowhere"))

    return loaded


def uncommented(chosen: list[Key]) -> str:
    """Return the template with the lines of these keys in force."""
    text = TEMPLATE
    for key in chosen:
        assert text.count(f"\n#{key.line}\n") == 1, key.line
        text = text.replace(f"\n#{key.line}\n", f"\n{key.line}\n")
    return text


def test_thetemplate_text_as_it_is_changes_nothing(load: Load) -> None:
    assert tomllib.loads(TEMPLATE) == {}
    config = load(TEMPLATE)
    assert (config, config.warnings) == (load(""), ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(KEYS), unique=True))
def test_any_keys_of_thetemplate_text_can_be_set(load: Load, chosen: list[Key]) -> None:
    if any(key.text == "profile" for key in chosen):  # it names a profile, which must be there
        chosen = [
            *chosen,
            *(key for key in KEYS if key.path[0] == "profiles" and key not in chosen),
        ]
    assert load(uncommented(chosen)).warnings == ()


def test_a_default_of_thetemplate_text_is_the_default(load: Load) -> None:
    defaults = [key for key in KEYS if key.default is not None and "NAME" not in key.path]
    found, expected = load(uncommented(defaults)), load("")
    assert attrs.evolve(found, origins={}) == attrs.evolve(expected, origins={})


@pytest.mark.parametrize("key", KEYS, ids=[key.text for key in KEYS])
def test_each_key_says_what_it_means_and_shows_a_value(key: Key) -> None:
    assert key.meaning
    assert key.example != "null"
    assert key.default is not None or key.example


def test_all_keys_are_listed_with_what_they_mean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TURNLOG_HOME", str(tmp_path))
    monkeypatch.setenv("TURNLOG_MODEL", "small")
    assert run(["config", "--all", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["key"] for row in rows} >= {key.text for key in KEYS if "NAME" not in key.path}
    assert rows[0] == {
        "key": "model",
        "value": "small",
        "origin": "$TURNLOG_MODEL (environment)",
        "meaning": "The model, as the provider names it",
        "type": "text",
        "default": '"gpt-5.5"',
        "variable": "TURNLOG_MODEL",
    }
    assert run(["config", "--all"]) == 0
    text = capsys.readouterr().out
    assert "model_verbosity is not set" in text
    assert (
        "\n    How long its answers are. Type: one of low, medium, high. Default: not set.\n"
        in text
    )


def test_thetemplate_text_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(["config", "--template"]), capsys.readouterr().out) == (0, TEMPLATE)
    assert run(["config", "--template", "--all"]) == 2
