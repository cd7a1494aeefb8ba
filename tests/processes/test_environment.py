"""A command's environment: each step of the policy, alone and together."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.protocol.settings import ShellEnvironmentPolicy
from turnlog.runtime.processes.environment import CORE, FORCED, child_environment

INHERITED = {
    "HOME": "/home/ada",
    "PATH": "/usr/bin",
    "EDITOR": "ed",
    "OPENAI_API_KEY": "sk-1",
    "aws_secret_value": "s",
    "GithubToken": "t",
}
NAMES = st.sampled_from([*INHERITED, "LANG", "TERM", "MY_VAR", "Keyboard"])
GLOBS = st.lists(st.sampled_from(["*", "MY_*", "h?me", "*key*", "[EP]*", "TERM"]), max_size=2)
POLICIES = st.builds(
    ShellEnvironmentPolicy,
    inherit=st.sampled_from(["core", "all", "none"]),
    ignore_default_excludes=st.booleans(),
    exclude=GLOBS.map(tuple),
    set=st.dictionaries(NAMES, st.text(max_size=3), max_size=3),
    include_only=GLOBS.map(tuple),
)
ENVIRONMENTS = st.dictionaries(NAMES, st.text(max_size=3))


def own(policy: ShellEnvironmentPolicy) -> dict[str, str]:
    """Return what `policy` gives of INHERITED, without the forced variables."""
    given_ = child_environment(policy, INHERITED)
    return {name: value for name, value in given_.items() if name not in FORCED}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ShellEnvironmentPolicy(), {"HOME": "/home/ada", "PATH": "/usr/bin"}),
        (ShellEnvironmentPolicy(inherit="none"), {}),
        (
            ShellEnvironmentPolicy(inherit="all"),
            {"HOME": "/home/ada", "PATH": "/usr/bin", "EDITOR": "ed"},
        ),
        (ShellEnvironmentPolicy(inherit="all", ignore_default_excludes=True), INHERITED),
        (
            ShellEnvironmentPolicy(inherit="all", exclude=("ed*", "h?me")),
            {"PATH": "/usr/bin"},
        ),
        (
            ShellEnvironmentPolicy(inherit="core", set={"HOME": "/h", "MY_KEY": "k"}),
            {"HOME": "/h", "MY_KEY": "k", "PATH": "/usr/bin"},
        ),
        (
            ShellEnvironmentPolicy(inherit="none", exclude=("A",), set={"A": "1"}),
            {"A": "1"},
        ),
        (ShellEnvironmentPolicy(inherit="all", include_only=("edit*",)), {"EDITOR": "ed"}),
        (
            ShellEnvironmentPolicy(inherit="core", set={"A": "1", "B": "2"}, include_only=("b",)),
            {"B": "2"},
        ),
    ],
    ids=[
        "the core is the default",
        "none inherits nothing",
        "all leaves keys, secrets and tokens out, in any case",
        "the default excludes can be ignored",
        "excludes are globs, in any case",
        "set wins over what is inherited, and may name a key",
        "set comes after the excludes",
        "include_only keeps what matches",
        "include_only comes last, and filters what was set",
    ],
)
def test_each_step_does_one_thing(policy: ShellEnvironmentPolicy, expected: dict[str, str]) -> None:
    assert own(policy) == expected


def test_the_forced_variables_make_output_readable() -> None:
    assert child_environment(ShellEnvironmentPolicy(inherit="none"), {}) == {
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "COLORTERM": "",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GH_PAGER": "cat",
        "TURNLOG": "1",
    }


@given(POLICIES, ENVIRONMENTS)
def test_every_variable_has_its_reason(
    policy: ShellEnvironmentPolicy, inherited: dict[str, str]
) -> None:
    def matches(name: str, globs: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name.lower(), glob.lower()) for glob in globs)

    def expected(name: str) -> str | None:
        if name in FORCED:
            return FORCED[name]
        if policy.include_only and not matches(name, policy.include_only):
            return None
        if name in policy.set:
            return policy.set[name]
        wanted = {"all": True, "core": name.upper() in CORE, "none": False}[policy.inherit]
        secret = any(word in name.upper() for word in ("KEY", "SECRET", "TOKEN"))
        if not wanted or (secret and not policy.ignore_default_excludes):
            return None
        return None if matches(name, policy.exclude) else inherited.get(name)

    given_ = child_environment(policy, inherited)
    names = {*inherited, *policy.set, *FORCED}
    assert given_ == {name: value for name in names if (value := expected(name)) is not None}
