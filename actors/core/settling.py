"""How a call gets its output without a run to its end."""

from typing import Final

from turnlog.actors.core import ledger
from turnlog.actors.core.state import Call
from turnlog.protocol.events import CallOutcome, CallSettled

_MAY_HAVE_RUN: Final = ("stopped", "unknown")


def settled(call: Call, outcome: CallOutcome, output: str, note: str = "") -> CallSettled:
    """Return the decision that gives `call` its output.

    Args:
        note: for the ledger. Default: what the call did before its sandbox stopped it, or that
            a crash cut it off.
    """
    note = note or call.note
    if not note and outcome in _MAY_HAVE_RUN:
        note = ledger.note(call.item, call.plan, outcome)
    return CallSettled(call.number, call.item.call_id, outcome, output, note)
