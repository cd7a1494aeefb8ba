"""The diagram of a call's life, as the page about the runtime shows it."""

from turnlog.actors.core.call_life import CALL
from turnlog.protocol.envelope import KIND_NAMES


def diagram() -> str:
    """Return a line for each event that changes a call's status, by the status before it."""
    lives = [changes for changes in CALL.values() if changes]
    everywhere = {
        event: after for event, after in lives[0].items() if all(event in one for one in lives)
    }
    groups = {
        status: {event: after for event, after in changes.items() if event not in everywhere}
        for status, changes in CALL.items()
    } | {"any": everywhere}
    rows = [
        (status if not at else "", KIND_NAMES[event], " or ".join(after))
        for status, changes in groups.items()
        for at, (event, after) in enumerate(changes.items())
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        f"{before:{widths[0]}} ── {event} {'─' * (widths[1] - len(event))}─> {after}"
        for before, event, after in rows
    )
