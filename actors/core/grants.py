"""What an approval is for: the call as it was shown, where it runs, and what it may reach.

What is remembered for a session is equal to what was allowed, and never wider: the same command
in another folder, under another sandbox, or of a file that has changed since is another question.
"""

from typing import Final

import msgspec

from turnlog.actors.core.state import Call, State, Turn
from turnlog.protocol.calls import NamedFile
from turnlog.protocol.envelope import GENESIS, chain
from turnlog.protocol.settings import SandboxPolicy

PLAIN: Final = SandboxPolicy(mode="danger-full-access")
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def sandbox_of(turn: Turn, call: Call) -> SandboxPolicy:
    """Return the sandbox that a call runs under."""
    outside = call.plan.wants == "outside" or call.denied is not None
    return PLAIN if outside else turn.settings.session.sandbox


def grant_key(state: State, turn: Turn, call: Call) -> str:
    """Return what is equal for calls that an approval for the session allows; empty for none.

    The files that the call names are not in it: `is_granted` compares them.
    """
    if not call.plan.approval_key:
        return ""
    session = turn.settings.session
    reach = (sandbox_of(turn, call), session.cwd, session.shell_environment)
    return chain(GENESIS, _encode((call.plan.tool, call.plan.approval_key, *reach))).hex()


def grant(state: State, turn: Turn, call: Call) -> None:
    """Remember an approval of `call` for the session. It takes the place of an earlier one."""
    if key := grant_key(state, turn, call):
        state.approved[key] = call.plan.files


def is_granted(state: State, turn: Turn, call: Call) -> bool:
    """Say whether an approval for the session allows `call`."""
    key = grant_key(state, turn, call)
    if not key or any(file.mark.kind == "unknown" for file in call.plan.files):
        return False
    return state.approved.get(key) == call.plan.files


def changed_since(state: State, turn: Turn, call: Call) -> tuple[str, ...]:
    """Return the files that are no longer what they were when this call was allowed, sorted."""
    granted = state.approved.get(grant_key(state, turn, call))
    since = differing(granted, call.plan.files) if granted is not None else ()
    return tuple(sorted({*call.changed, *since}))


def differing(before: tuple[NamedFile, ...], now: tuple[NamedFile, ...]) -> tuple[str, ...]:
    """Return the paths that two plans do not agree about, sorted."""
    return tuple(sorted({file.path for file in {*before} ^ {*now}}))
