"""The result of a replay with actors, for people and for programs. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from turnlog.protocol.envelope import Recorded
from turnlog.protocol.ids import SessionId
from turnlog.protocol.view import event_object, record_object
from turnlog.replay.acting.stage import LogDifference
from turnlog.replay.verify.verdict import Verdict
from turnlog.replay.views.structure import plain, value_text
from turnlog.replay.views.text import escaped

_WIDTH: Final = 88  # characters of an event that are shown


def acted_verdict(
    name: str, session: SessionId, events: int, found: Sequence[LogDifference], seed: int
) -> Verdict:
    """Return what `replay_acting` found as a verdict.

    Args:
        events: how many were recorded. None was played after the first step that differs.
    """
    if not found:
        return Verdict(name, "same", session, events)
    first = found[0]
    return Verdict(
        name,
        "different",
        session,
        first.sequence,
        len(found),
        dict(Counter(map(_label, found)).most_common()),
        _object(first, seed),
        _explained(first, seed),
    )


def _label(found: LogDifference) -> str:
    if found.happened is None:
        return f"missing {_kind(found.recorded)}"
    if found.recorded is None:
        return f"unexpected {_kind(found.happened)}"
    return f"changed {_kind(found.recorded)}"


def _kind(record: Recorded | None) -> str:
    return record.kind if record is not None else ""


def _object(found: LogDifference, seed: int) -> dict[str, Any]:
    label = _label(found)
    return {
        "sequence": found.sequence,
        "kind": label.partition(" ")[0],
        "label": label,
        "recorded": None if found.recorded is None else record_object(found.recorded),
        "happened": None if found.happened is None else record_object(found.happened),
        "seed": seed,
    }


def _explained(found: LogDifference, seed: int) -> str:
    lines = [
        f"event {found.sequence}: {_label(found)}",
        f"  recorded  {_summary(found.recorded)}",
        f"  happened  {_summary(found.happened)}",
        "  This is the first step that differs; what follows it was not played. Without --actors,",
        "  `turnlog replay` tells whether the decisions differ, or only what the actors make of",
        f"  them. The same seed shows the same: --seed {seed}.",
    ]
    return "\n".join(lines)


def _summary(record: Recorded | None) -> str:
    if record is None:
        return "(nothing)"
    return escaped(f"{record.kind} {value_text(plain(event_object(record.event)))}", _WIDTH)
