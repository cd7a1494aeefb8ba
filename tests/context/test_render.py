"""The texts of a turn's context, whole; the models that are known; the day it is."""

from datetime import date
from pathlib import Path

import pytest

from turnlog.protocol.settings import ApprovalPolicy, SandboxPolicy
from turnlog.runtime.context.models import ModelInfo, model_info
from turnlog.runtime.context.prompts import BASE_INSTRUCTIONS
from turnlog.runtime.context.render import (
    render_agents_md,
    render_environment,
    render_permissions,
)
from turnlog.runtime.context.timezone import date_in, local_timezone
from turnlog.runtime.sandbox.confinement import Bounds

FULL = SandboxPolicy("danger-full-access")
READ = SandboxPolicy("read-only")
WRITE = SandboxPolicy("workspace-write")
DAY = date(2026, 11, 21)


def test_permissions_without_a_sandbox() -> None:
    assert render_permissions(FULL, Bounds(None), "never") == (
        "<permissions instructions>\n"
        "Files (`sandbox_mode` is `danger-full-access`): there is no sandbox; commands can read "
        "and write every file that the user can.\n"
        "Network: open.\n"
        "Approvals (`approval_policy` is `never`): nobody is asked; work within these limits, and "
        "say what they kept you from. Leave `sandbox_permissions` out: there is no sandbox to "
        "leave.\n"
        "</permissions instructions>"
    )


def test_permissions_to_read() -> None:
    assert render_permissions(READ, Bounds("landlock"), "on-request") == (
        "<permissions instructions>\n"
        "Files (`sandbox_mode` is `read-only`): commands can read every file but "
        "turnlog's own, and write none.\n"
        "Network: closed; commands cannot connect to anything.\n"
        "Approvals (`approval_policy` is `on-request`): commands run without a question. To run a "
        'command outside of the sandbox, set `sandbox_permissions` to "require_escalated" and say '
        "why in one sentence in `justification`; the user is asked. Do so when a command that the "
        "task needs is stopped by the sandbox, not before.\n"
        "</permissions instructions>"
    )


WRITING = (
    "Files (`sandbox_mode` is `workspace-write`): commands can read every file but turnlog's own, "
    "and write below these folders: /tmp, /work. In them, .git, .codex, .agents and .turnlog stay "
    "as they are and cannot be made, and so do the folders on PATH and other files that run later "
    "outside of the sandbox."
)


def test_permissions_to_write() -> None:
    sandbox = SandboxPolicy("workspace-write", network_access=True)
    bounds = Bounds("namespaces", ("/tmp", "/work"))
    assert render_permissions(sandbox, bounds, "never") == (
        f"<permissions instructions>\n{WRITING}\n"
        "Network: open.\n"
        "Approvals (`approval_policy` is `never`): nobody is asked; work within these limits, and "
        "say what they kept you from. Leave `sandbox_permissions` out: calls that set it are "
        "refused.\n"
        "</permissions instructions>"
    )


def test_permissions_tell_what_landlock_alone_cannot_allow() -> None:
    bounds = Bounds("landlock", ("/tmp", "/work"), closed=("/work",), private_tmp=True)
    text = render_permissions(WRITE, bounds, "never")
    assert text.splitlines()[1] == (
        f"{WRITING} Directly in /work, commands can change the files that are there, but not add, "
        "rename, remove or replace any; in the folders below they can. Use apply_patch for that. "
        "Temporary files go to $TMPDIR, which is new for each command and removed after it."
    )


@pytest.mark.parametrize("sandbox", [READ, WRITE])
def test_permissions_tell_that_nothing_can_be_confined(sandbox: SandboxPolicy) -> None:
    text = render_permissions(sandbox, Bounds(None, complaint="no mechanism"), "never")
    assert text.splitlines()[1] == (
        f"Files (`sandbox_mode` is `{sandbox.mode}`): commands cannot be confined on this machine, "
        "so that all of them are refused."
    )


@pytest.mark.parametrize(
    ("approvals", "escalates"),
    [("untrusted", True), ("on-request", True), ("on-failure", False), ("never", False)],
)
def test_the_way_out_of_the_sandbox_is_told_where_there_is_one(
    approvals: ApprovalPolicy, escalates: bool
) -> None:
    assert (
        "require_escalated" in render_permissions(WRITE, Bounds("landlock", ("/w",)), approvals)
    ) is escalates


def test_the_network_of_a_read_only_sandbox_stays_closed() -> None:
    sandbox = SandboxPolicy("read-only", network_access=True)
    assert "Network: closed" in render_permissions(sandbox, Bounds("landlock"), "never")


def test_the_environment_is_what_codex_sends() -> None:
    assert render_environment("/work", "bash", DAY, "Etc/UTC", FULL, []) == (
        "<environment_context>\n"
        "  <cwd>/work</cwd>\n"
        "  <shell>bash</shell>\n"
        "  <current_date>2026-11-21</current_date>\n"
        "  <timezone>Etc/UTC</timezone>\n"
        "  <filesystem><workspace_roots><root>/work</root></workspace_roots>"
        '<permission_profile type="disabled"><file_system type="unrestricted" />'
        "</permission_profile></filesystem>\n"
        "</environment_context>"
    )


@pytest.mark.parametrize(
    ("sandbox", "profile"),
    [
        (
            READ,
            '<permission_profile type="read-only"><file_system type="read-only" />'
            "</permission_profile>",
        ),
        (
            WRITE,
            '<permission_profile type="workspace-write"><file_system type="restricted">'
            "<writable_root>/a&amp;b</writable_root><writable_root>/tmp</writable_root>"
            "</file_system></permission_profile>",
        ),
    ],
)
def test_the_environment_shows_what_is_writable(sandbox: SandboxPolicy, profile: str) -> None:
    text = render_environment('/a<"b">', "bash", DAY, "Etc/UTC", sandbox, ["/a&b", "/tmp"])
    assert text == (
        "<environment_context>\n"
        "  <cwd>/a&lt;&quot;b&quot;&gt;</cwd>\n"
        "  <shell>bash</shell>\n"
        "  <current_date>2026-11-21</current_date>\n"
        "  <timezone>Etc/UTC</timezone>\n"
        "  <filesystem><workspace_roots><root>/a&lt;&quot;b&quot;&gt;</root></workspace_roots>"
        f"{profile}</filesystem>\n"
        "</environment_context>"
    )


def test_agents_md_is_wrapped_as_codex_wraps_it() -> None:
    assert render_agents_md("/work", "Project rule: be brief.\n") == (
        "# AGENTS.md instructions for /work\n\n<INSTRUCTIONS>\nProject rule: be brief.\n\n"
        "</INSTRUCTIONS>"
    )


def test_the_base_instructions_name_the_tools_and_hold_no_broken_line() -> None:
    assert "`apply_patch`" in BASE_INSTRUCTIONS
    assert "\\" not in BASE_INSTRUCTIONS
    assert len(BASE_INSTRUCTIONS) < 4000


@pytest.mark.parametrize(
    ("model", "info"),
    [
        ("gpt-5", ModelInfo(258_400)),
        ("gpt-5.5", ModelInfo(258_400)),
        ("gpt-5.1-codex", ModelInfo(258_400)),
        ("openai/gpt-5-mini", ModelInfo(258_400)),
        ("gpt-5.6-sol", ModelInfo(258_400, parallel_tool_calls=False)),
        ("gpt-6.1-sol", ModelInfo(None, parallel_tool_calls=False)),
        ("gpt-50", ModelInfo(None)),
        ("o3-mini", ModelInfo(190_000)),
        ("something-else", ModelInfo(None)),
        ("", ModelInfo(None)),
    ],
)
def test_what_is_known_of_a_model(model: str, info: ModelInfo) -> None:
    assert model_info(model) == info


def test_the_time_zone_is_that_of_the_variable_or_of_the_machine(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    assert local_timezone({}, link) == "Etc/UTC"
    link.symlink_to("/usr/share/zoneinfo/Europe/Paris")
    assert local_timezone({}, link) == "Europe/Paris"
    assert local_timezone({"TZ": ":America/Lima"}, link) == "America/Lima"
    assert local_timezone({"TZ": "../../etc/passwd"}, link) == "Europe/Paris"
    assert local_timezone({"TZ": "EST5EDT,M3.2.0,M11.1.0"}, link) == "Europe/Paris"


def test_the_day_is_that_of_the_time_zone() -> None:
    just_before_midnight = 1_795_305_599_000_000  # 2026-11-21T23:59:59Z
    assert date_in("Etc/UTC", just_before_midnight) == date(2026, 11, 21)
    assert date_in("Asia/Tokyo", just_before_midnight) == date(2026, 11, 22)
