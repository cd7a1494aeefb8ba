"""The settings of a session that came from elsewhere: what it is stays, what it may is ours."""

import os

from msgspec import structs

from turnlog.protocol.settings import SandboxPolicy, SessionSettings


def adopted(theirs: SessionSettings, ours: SessionSettings) -> SessionSettings:
    """Return `theirs` with the rights of `ours`: sandbox, approvals, environment, provider.

    The folder stays, as everything that says how the model is to work. But where it works is a
    right, too: below a folder that this engine does not stand in, nothing is written until
    somebody says so (`-s`, `-C`).

    Args:
        ours: what a new session in the same folder would be given here.
    """
    sandbox = ours.sandbox
    if sandbox.mode == "workspace-write" and not _is_current(theirs.cwd):
        sandbox = SandboxPolicy("read-only")
    is_known = theirs.model_provider == ours.model_provider
    return structs.replace(
        theirs,
        model=theirs.model if is_known else ours.model,
        model_provider=ours.model_provider,
        approval_policy=ours.approval_policy,
        sandbox=sandbox,
        shell_environment=ours.shell_environment,
        durability=ours.durability,
        agents=ours.agents,
        scan_workspace=ours.scan_workspace,
        review_model=theirs.review_model if is_known else ours.review_model,
    )


def _is_current(folder: str) -> bool:
    try:
        return os.path.samefile(folder, os.getcwd())
    except OSError:
        return False
