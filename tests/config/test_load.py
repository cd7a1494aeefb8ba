"""Loading the configuration: precedence, trust, and what `turnlog config` shows."""

import os
import pwd
import tomllib
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from msgspec import structs

from tests.errors import raises_code
from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.settings import (
    AgentLimits,
    CompactionLimits,
    RetryLimits,
    SandboxPolicy,
    SessionSettings,
    ShellEnvironmentPolicy,
    TurnSettings,
    UnansweredPolicy,
)
from turnlog.runtime.config import Config, ProviderConfig, explain, load_config, turnlog_home
from turnlog.runtime.config.layers import dotted
from turnlog.runtime.config.project import project_root
from turnlog.runtime.config.schema import SETTING_OF_KEY, key_names
from turnlog.runtime.config.sources import VARIABLES

OPENAI = ProviderConfig("https://api.openai.com/v1", name="OpenAI", env_key="OPENAI_API_KEY")


@attrs.frozen
class Place:
    """A machine with its configuration files."""

    root: Path

    @property
    def system(self) -> Path:
        return self.root / "etc" / "config.toml"

    @property
    def user(self) -> Path:
        return self.root / "home" / "config.toml"

    @property
    def project(self) -> Path:
        return self.root / "work" / ".turnlog" / "config.toml"

    @property
    def cwd(self) -> Path:
        return self.root / "work" / "deep" / "er"

    def load(self, *assignments: str, profile: str | None = None, **variables: str) -> Config:
        return load_config(
            self.cwd,
            environ={"TURNLOG_HOME": str(self.user.parent), **variables},
            assignments=assignments,
            profile=profile,
            system_file=self.system,
        )

    def trust(self, level: str = "trusted") -> str:
        return f'[{dotted(("projects", str(self.root / "work")))}]\ntrust_level = "{level}"\n'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.cwd.mkdir(parents=True)
    (tmp_path / "work" / ".git").mkdir()
    for path in (place.system, place.user, place.project):
        path.parent.mkdir()
    return place


def error_of(place: Place, *assignments: str, **variables: str) -> str:
    with raises_code(ErrorCode.CONFIG_INVALID) as caught:
        place.load(*assignments, **variables)
    return str(caught.value)


# --- precedence -------------------------------------------------------------------------------


def test_without_any_file_the_defaults_hold(place: Place) -> None:
    config = place.load()
    assert attrs.evolve(config, origins={}) == Config(model_providers={"openai": OPENAI})
    assert config.providers == {"openai": OPENAI}


def test_each_layer_wins_over_the_ones_before_it(place: Place) -> None:
    seen: list[tuple[str, str]] = []

    def look(*assignments: str, profile: str | None = None, **variables: str) -> None:
        config = place.load(*assignments, profile=profile, **variables)
        [shown] = [setting for setting in explain(config) if setting.key == "model"]
        seen.append((str(shown.value), str(shown.origin)))

    look()
    place.system.write_text('model = "of-system"')
    look()
    place.user.write_text('model = "of-user"\n[profiles.p]\nmodel = "of-profile"\n' + place.trust())
    look()
    look(profile="p")
    place.project.write_text('model = "of-project"')
    look(profile="p")
    look(profile="p", TURNLOG_MODEL="of-environment")
    look("model=of-option", profile="p", TURNLOG_MODEL="of-environment")
    look("model=of-option", "model=later", profile="p", TURNLOG_MODEL="of-environment")
    assert seen == [
        ("gpt-5.5", "default"),
        ("of-system", f"{place.system} (system)"),
        ("of-user", f"{place.user} (user)"),
        ("of-profile", f"{place.user} [profiles.p] (profile)"),
        ("of-project", f"{place.project} (project)"),
        ("of-environment", "$TURNLOG_MODEL (environment)"),
        ("of-option", "-c model (command line)"),
        ("later", "-c model (command line)"),
    ]


def test_options_win_over_everything(place: Place) -> None:
    config = load_config(
        place.cwd,
        environ={"TURNLOG_HOME": str(place.user.parent)},
        assignments=["model=x"],
        options={"model": "y"},
        system_file=place.system,
    )
    assert config.model == "y"


def test_every_documented_variable_sets_a_known_key() -> None:
    assert set(VARIABLES.values()) <= set(key_names(Config))


def test_an_empty_variable_counts_as_not_set(place: Place) -> None:
    assert place.load(TURNLOG_MODEL="").model == "gpt-5.5"


def test_tables_are_merged_key_by_key_across_files(place: Place) -> None:
    place.system.write_text("[sandbox_workspace_write]\nnetwork_access = true")
    place.user.write_text('[model_providers.openai]\nkey_command = ["pass", "show", "x"]')
    config = place.load("sandbox_workspace_write.exclude_slash_tmp=true")
    assert (
        config.sandbox_workspace_write.network_access,
        config.sandbox_workspace_write.exclude_slash_tmp,
    ) == (True, True)
    assert config.providers["openai"] == structs.replace(OPENAI, key_command=("pass", "show", "x"))


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("model_context_window=1000", ("model_context_window", 1000)),
        ("model=a=b", ("model", "a=b")),
        ('model="3"', ("model", "3")),
        ("model=x\ny=2", ("model", "x\ny=2")),
        ('project_root_markers=[".hg", ".jj"]', ("project_root_markers", (".hg", ".jj"))),
        ("developer_instructions=", ("developer_instructions", "")),
    ],
)
def test_an_assignment_is_toml_or_else_a_text(
    place: Place, assignment: str, value: tuple[str, Any]
) -> None:
    assert getattr(place.load(assignment), value[0]) == value[1]


def test_a_quoted_key_in_an_assignment_may_hold_dots_and_equals_signs(place: Place) -> None:
    config = place.load('shell_environment_policy.set."a.b=c"=1.x')
    assert config.shell_environment_policy == ShellEnvironmentPolicy(set={"a.b=c": "1.x"})


@pytest.mark.parametrize("assignment", ["model", "=x", "a b=1", "#x=1", "[a]\nb=1", ""])
def test_an_assignment_without_a_key_is_refused(place: Place, assignment: str) -> None:
    assert error_of(place, assignment).startswith(f"-c {assignment}: expected KEY=VALUE")


# --- profiles ---------------------------------------------------------------------------------


def test_a_profile_is_chosen_by_key_variable_or_argument(place: Place) -> None:
    place.user.write_text(
        'profile = "one"\n[profiles.one]\nmodel = "1"\n[profiles.two]\nmodel = "2"'
    )
    assert place.load().model == "1"
    assert place.load(TURNLOG_PROFILE="two").model == "2"
    assert place.load("profile=one", TURNLOG_PROFILE="two").model == "1"
    assert place.load("profile=one", profile="two").model == "2"


def test_a_profile_that_is_not_there_is_named_with_its_neighbour(place: Place) -> None:
    place.user.write_text("[profiles.fast]")
    assert error_of(place, "profile=fats") == (
        "there is no profile 'fats': no file has a table [profiles.fats]. Did you mean \"fast\"?"
    )


def test_a_profile_cannot_choose_a_profile(place: Place) -> None:
    place.user.write_text('[profiles.p]\nprofile = "q"')
    assert error_of(place, "profile=p") == (
        f"{place.user} [profiles.p] (profile): profile: a profile may not set it."
    )


# --- trust ------------------------------------------------------------------------------------


def test_a_project_that_nobody_trusts_is_not_used_and_that_is_said(place: Place) -> None:
    place.project.write_text("model = this is not even TOML")
    config = place.load()
    root = dotted(("projects", str(place.root / "work")))
    assert config.model == "gpt-5.5"
    assert config.warnings == (
        f"{place.project} is not used, since this project is not trusted. To use it, add "
        f'{root}.trust_level = "trusted" to {place.user}.',
    )


def test_a_project_that_is_marked_untrusted_is_passed_over_in_silence(place: Place) -> None:
    place.project.write_text('model = "x"')
    place.user.write_text(place.trust("untrusted"))
    assert (place.load().model, place.load().warnings) == ("gpt-5.5", ())


def test_trust_follows_the_real_path(place: Place) -> None:
    place.project.write_text('model = "x"')
    (place.root / "link").symlink_to(place.root / "work")
    place.user.write_text(place.trust().replace("/work", "/link"))
    assert place.load().model == "x"


@pytest.mark.parametrize("level", ["system", "project", "-c"])
def test_trust_is_given_by_the_users_file_alone(place: Place, level: str) -> None:
    place.user.write_text(place.trust())
    if level == "-c":
        text = error_of(place, 'projects."/x".trust_level="trusted"')
    else:
        (place.system if level == "system" else place.project).write_text(place.trust())
        text = error_of(place)
    assert ": projects: " in text


@pytest.mark.parametrize(
    "line",
    [
        'model_provider = "mine"',
        'model_providers.openai.base_url = "http://elsewhere"',
        'openai_base_url = "http://elsewhere"',
        "project_root_markers = []",
        'profile = "p"',
    ],
)
def test_a_trusted_project_cannot_choose_where_prompts_and_keys_go(place: Place, line: str) -> None:
    place.user.write_text(place.trust())
    place.project.write_text(line)
    key = next(iter(tomllib.loads(line)))
    assert error_of(place) == (
        f"{place.project} (project): {key}: a project may not set providers, credentials, "
        "profiles or trust."
    )


def test_the_users_own_folder_is_no_project(tmp_path: Path) -> None:
    (tmp_path / ".turnlog").mkdir()
    (tmp_path / ".turnlog" / "config.toml").write_text('model_provider = "openai"')
    config = load_config(
        tmp_path, environ={"HOME": str(tmp_path)}, system_file=tmp_path / "none.toml"
    )
    assert config.warnings == ()


# --- what comes of it -------------------------------------------------------------------------


def test_a_session_gets_what_is_configured(place: Place) -> None:
    place.user.write_text(
        """
        model = "m"
        model_provider = "local"
        approval_policy = "never"
        sandbox_mode = "workspace-write"
        model_reasoning_effort = "high"
        model_reasoning_summary = "concise"
        model_verbosity = "low"
        model_context_window = 1000
        model_auto_compact_token_limit = 900
        show_raw_agent_reasoning = true
        base_instructions = "base"
        developer_instructions = "dev"
        user_instructions = "usr"
        durability = "relaxed"
        approval_timeout_ms = 5
        compact_prompt = "sum up"
        review_model = "reviewer"
        [unanswered]
        command = "park"
        patch = "wait"
        [agents]
        max_threads = 2
        max_depth = 3
        [undo]
        scan_workspace = true
        [sandbox_workspace_write]
        writable_roots = ["/data"]
        network_access = true
        exclude_tmpdir_env_var = true
        exclude_slash_tmp = true
        [shell_environment_policy]
        inherit = "all"
        [model_providers.local]
        base_url = "http://127.0.0.1:1/v1"
        request_max_retries = 0
        stream_max_retries = 1
        stream_idle_timeout_ms = 2
        """
    )
    config = place.load()
    session = config.session_settings("/somewhere")
    assert session == SessionSettings(
        cwd="/somewhere",
        model="m",
        model_provider="local",
        approval_policy="never",
        sandbox=SandboxPolicy(
            mode="workspace-write",
            writable_roots=("/data",),
            network_access=True,
            exclude_tmpdir_env_var=True,
            exclude_slash_tmp=True,
        ),
        reasoning_effort="high",
        reasoning_summary="concise",
        verbosity="low",
        base_instructions="base",
        developer_instructions="dev",
        user_instructions="usr",
        show_raw_agent_reasoning=True,
        shell_environment=ShellEnvironmentPolicy(inherit="all"),
        model_context_window=1000,
        model_auto_compact_token_limit=900,
        durability="relaxed",
        review_model="reviewer",
        agents=AgentLimits(2, 3),
        scan_workspace=True,
    )
    assert config.turn_limits(session) == TurnSettings(
        session=session,
        retry=RetryLimits(request_max_retries=0, stream_max_retries=1, stream_idle_timeout_ms=2),
        approval_timeout_ms=5,
        unanswered=UnansweredPolicy("park", "wait"),
        compaction=CompactionLimits(prompt="sum up"),
    )
    assert config.providers["local"].name == "local"


def test_a_session_whose_provider_is_gone_cannot_run_a_turn() -> None:
    config = Config(model_providers={"openai": OPENAI})
    with raises_code(ErrorCode.CONFIG_INVALID, match=r"Add \[model_providers.gone\]"):
        config.turn_limits(SessionSettings(cwd="/", model="m", model_provider="gone"))


def test_a_folder_that_the_log_could_not_name_is_refused() -> None:
    with raises_code(ErrorCode.CONFIG_INVALID, match="not UTF-8"):
        Config().session_settings("/x/\udcff")


def test_openai_base_url_moves_the_built_in_provider(place: Place) -> None:
    config = place.load("openai_base_url=http://127.0.0.1:9/v1")
    assert config.providers["openai"].base_url == "http://127.0.0.1:9/v1"


def test_secrets_are_masked_wherever_the_configuration_is_shown(place: Place) -> None:
    place.user.write_text(
        """
        [model_providers.q]
        base_url = "http://x"
        http_headers = { Authorization = "hush" }
        query_params = { key = "hush" }
        [shell_environment_policy.set]
        API_KEY = "hush"
        """
    )
    config = place.load()
    shown = {setting.key: setting.value for setting in explain(config)}
    assert shown["model_providers.q.http_headers.Authorization"] == "********"
    assert shown["model_providers.q.query_params.key"] == "********"
    assert shown["shell_environment_policy.set.API_KEY"] == "********"
    assert "hush" not in f"{config!r}{config.providers!r}{explain(config)!r}"


def test_explain_shows_every_key_that_has_a_value(place: Place) -> None:
    place.user.write_text('[history]\npersistence = "none"\n[profiles.p]\nmodel = "x"')
    shown = {setting.key: (setting.value, str(setting.origin)) for setting in explain(place.load())}
    assert shown["history.persistence"] == ("none", f"{place.user} (user)")
    assert shown["profiles.p.model"] == ("x", f"{place.user} (user)")
    assert shown["durability"] == ("strict", "default")
    assert "model_context_window" not in shown
    assert msgspec.json.decode(msgspec.json.encode([value for value, _ in shown.values()]))


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"TURNLOG_HOME": "/x/y/../z", "HOME": "/me"}, "/x/z"),
        ({"TURNLOG_HOME": "~/t", "HOME": "/me"}, "/me/t"),
        ({"TURNLOG_HOME": "", "HOME": "/me"}, "/me/.turnlog"),
        ({"TURNLOG_HOME": "here"}, os.path.abspath("here")),
        ({"TURNLOG_HOME": "/x", "HOME": "relative"}, "/x"),
        ({"TURNLOG_HOME": "~root/t"}, f"{pwd.getpwnam('root').pw_dir}/t"),
        ({"HOME": "/me"}, "/me/.turnlog"),
        ({"HOME": ""}, f"{pwd.getpwuid(os.getuid()).pw_dir}/.turnlog"),
        ({}, f"{pwd.getpwuid(os.getuid()).pw_dir}/.turnlog"),
    ],
)
def test_the_home_folder(environ: dict[str, str], home: str) -> None:
    assert turnlog_home(environ) == Path(home)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"HOME": "relative"}, "HOME is 'relative', which is not absolute."),
        ({"HOME": "~"}, "HOME is '~', which is not absolute."),
        ({"HOME": "/work/~"}, "/work/~/.turnlog has a folder in it that is called `~`."),
        ({"TURNLOG_HOME": "/work/~/x"}, "/work/~/x has a folder in it that is called `~`."),
        ({"TURNLOG_HOME": "./~"}, "has a folder in it that is called `~`."),
        ({"TURNLOG_HOME": "~/x", "HOME": "relative"}, "HOME is 'relative', which is not absolute."),
        ({"TURNLOG_HOME": "~nobody-of-that-name"}, "there is no user 'nobody-of-that-name'."),
        ({"TURNLOG_HOME": "a\0b"}, "TURNLOG_HOME is 'a\\x00b'"),
    ],
)
def test_where_no_home_is_known_the_variable_is_named(environ: dict[str, str], named: str) -> None:
    with raises_code(ErrorCode.HOME_UNKNOWN) as caught:
        turnlog_home(environ)
    assert named in str(caught.value)
    assert str(caught.value).endswith("Set TURNLOG_HOME to an absolute path, such as /srv/turnlog.")


# --- Codex's other keys -------------------------------------------------------------------------


def test_keys_of_codex_that_are_not_used_are_accepted_and_named(place: Place) -> None:
    place.user.write_text('model = "m"\n[mcp_servers.docs]\ncommand = "docs"\n')
    config = place.load('web_search="live"')
    assert (config.model, config.warnings) == (
        "m",
        (
            f"{place.user} (user): mcp_servers is not used by turnlog yet.",
            "-c web_search (command line): web_search is not used by turnlog yet.",
        ),
    )


def test_what_a_sandbox_keeps_in_place_of_a_marker_begins_no_project(tmp_path: Path) -> None:
    """A killed engine may leave it, until the next command removes it."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "inner").mkdir()
    assert project_root(tmp_path / "inner", [".git"]) == tmp_path
    (tmp_path / ".git").chmod(0o1555)
    assert project_root(tmp_path / "inner", [".git"]) == tmp_path / "inner"


def test_each_setting_of_a_session_has_a_key() -> None:
    told_otherwise = {"cwd", "depth", "project_docs"}  # by the command line or the parent
    fields = set(SessionSettings.__struct_fields__)
    assert set(SETTING_OF_KEY.values()) == fields - told_otherwise
    assert set(SETTING_OF_KEY) <= set(key_names(Config))


def test_the_settings_of_a_layer_are_found_by_their_keys(place: Place) -> None:
    config = place.load("review_model=critic", "undo.scan_workspace=true", "profiles={}")
    assert config.settings_set_in({"command line"}) == {"review_model", "scan_workspace"}
    assert config.settings_set_in({"user", "profile"}) == frozenset()
