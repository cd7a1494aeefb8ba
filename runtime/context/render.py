"""Render what a model is told about its surroundings. Pure: the same values, the same text.

The tags, and the form of the environment, are what Codex sends (recorded requests of 0.169):
clients and models know them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from turnlog.protocol.settings import ApprovalPolicy, SandboxPolicy
from turnlog.runtime.context.prompts import DO_NOT_ESCALATE, ESCALATE, NO_SANDBOX
from turnlog.runtime.sandbox.confinement import Bounds
from turnlog.runtime.sandbox.paths import PROTECTED

_NOT_ASKED: Final = "nobody is asked; work within these limits, and say what they kept you from."
_APPROVALS: Final[Mapping[ApprovalPolicy, str]] = {
    "untrusted": "the user is asked before each command and each patch, and may decline it.",
    "on-request": "commands run without a question.",
    "on-failure": "commands run in the sandbox; the user is asked about one that it stopped.",
    "never": _NOT_ASKED,
}


def render_permissions(sandbox: SandboxPolicy, bounds: Bounds, approvals: ApprovalPolicy) -> str:
    """Return what the model may do.

    Args:
        bounds: how commands are confined on this machine.
    """
    lines = [
        _sandbox_text(sandbox, bounds),
        _network_text(sandbox),
        _approval_text(sandbox, approvals),
    ]
    return "<permissions instructions>\n" + "\n".join(lines) + "\n</permissions instructions>"


def _sandbox_text(sandbox: SandboxPolicy, bounds: Bounds) -> str:
    if sandbox.mode == "danger-full-access":
        text = "there is no sandbox; commands can read and write every file that the user can."
    elif bounds.complaint:
        text = "commands cannot be confined on this machine, so that all of them are refused."
    elif sandbox.mode == "read-only":
        text = "commands can read every file but turnlog's own, and write none."
    else:
        text = " ".join(_writing(bounds))
    return f"Files (`sandbox_mode` is `{sandbox.mode}`): {text}"


def _writing(bounds: Bounds) -> Iterator[str]:
    """Yield what `workspace-write` means under the mechanism that confines commands here."""
    protected = ", ".join(PROTECTED[:-1]) + f" and {PROTECTED[-1]}"
    yield (
        "commands can read every file but turnlog's own, and write below these folders: "
        f"{', '.join(bounds.writable)}."
    )
    yield (
        f"In them, {protected} stay as they are and cannot be made, and so do the folders on PATH "
        "and other files that run later outside of the sandbox."
    )
    if bounds.closed:
        yield (
            f"Directly in {', '.join(bounds.closed)}, commands can change the files that are "
            "there, but not add, rename, remove or replace any; in the folders below they can. "
            "Use apply_patch for that."
        )
    if bounds.private_tmp:
        yield "Temporary files go to $TMPDIR, which is new for each command and removed after it."


def _network_text(sandbox: SandboxPolicy) -> str:
    is_open = sandbox.mode == "danger-full-access" or (
        sandbox.mode == "workspace-write" and sandbox.network_access
    )
    return f"Network: {'open' if is_open else 'closed; commands cannot connect to anything'}."


def _approval_text(sandbox: SandboxPolicy, approvals: ApprovalPolicy) -> str:
    if sandbox.mode == "danger-full-access":
        escalation = NO_SANDBOX
    elif approvals in ("untrusted", "on-request"):
        escalation = ESCALATE
    else:
        escalation = DO_NOT_ESCALATE
    text = _APPROVALS[approvals]
    return f"Approvals (`approval_policy` is `{approvals}`): {text} {escalation}"


def render_environment(
    cwd: str, shell: str, today: date, timezone: str, sandbox: SandboxPolicy, roots: Sequence[str]
) -> str:
    """Return where the model is.

    Args:
        timezone: an IANA name; `today` is the date there.
    """
    return (
        "<environment_context>\n"
        f"  <cwd>{escape(cwd)}</cwd>\n"
        f"  <shell>{escape(shell)}</shell>\n"
        f"  <current_date>{today.isoformat()}</current_date>\n"
        f"  <timezone>{escape(timezone)}</timezone>\n"
        f"  <filesystem><workspace_roots><root>{escape(cwd)}</root></workspace_roots>"
        f"{_profile(sandbox, roots)}</filesystem>\n"
        "</environment_context>"
    )


def _profile(sandbox: SandboxPolicy, roots: Sequence[str]) -> str:
    if sandbox.mode == "danger-full-access":
        kind, files = "disabled", '<file_system type="unrestricted" />'
    elif sandbox.mode == "read-only":
        kind, files = "read-only", '<file_system type="read-only" />'
    else:
        writable = "".join(f"<writable_root>{escape(root)}</writable_root>" for root in roots)
        kind, files = "workspace-write", f'<file_system type="restricted">{writable}</file_system>'
    return f'<permission_profile type="{kind}">{files}</permission_profile>'


def render_agents_md(folder: str, text: str) -> str:
    """Return the instructions of AGENTS.md files, as they hold for `folder`."""
    return f"# AGENTS.md instructions for {folder}\n\n<INSTRUCTIONS>\n{text}\n</INSTRUCTIONS>"


def escape(text: str) -> str:
    """Return `text` as it can stand in an element or in a quoted attribute."""
    for special, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(special, name)
    return text
