"""What a replay found: to be counted, to be read by people, and by programs. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from turnlog.protocol.envelope import KIND_NAMES, Recorded
from turnlog.protocol.errors import FileInvalid, LogDamaged
from turnlog.protocol.events import SessionDecision, StepFailed
from turnlog.protocol.ids import SessionId
from turnlog.protocol.view import event_object, record_object
from turnlog.replay.verify.verifier import Divergence, Verifier
from turnlog.replay.views.structure import ABSENT, excerpts, path_text, plain, value_text
from turnlog.replay.views.text import escaped

_WIDTH: Final = 88  # characters of a value that are shown
_FIELDS: Final = 8  # fields of a divergence that are shown


@attrs.frozen
class Damage:
    """Where a session stops being what was written. What comes before it was compared."""

    code: str  # of the error
    message: str
    sequence: int  # of the first event that is not good; 0: it is not about one


@attrs.frozen
class ReplayReport:
    """What a replay found. No divergences: today's code decides as the recorded session did."""

    session: SessionId
    events: int  # that were compared
    divergences: Sequence[Divergence]
    damage: Damage | None = None

    @property
    def is_exact(self) -> bool:
        return not self.divergences and self.damage is None

    def counts(self) -> dict[str, int]:
        """Return how many divergences there are of each label, the most frequent first."""
        return dict(Counter(found.label for found in self.divergences).most_common())


@attrs.define
class Replay:
    """Collects what a replay finds, event by event."""

    session: SessionId
    start: int = 1  # what comes before it is replayed, and not reported
    events: int = 0
    _verifier: Verifier = attrs.field(factory=Verifier, init=False)
    _found: list[Divergence] = attrs.field(factory=list[Divergence], init=False)

    def take(self, records: Iterable[Recorded]) -> None:
        for record in records:
            self._add(self._verifier.take(record))
            self.events += 1

    def finish(self, damage: Damage | None = None) -> ReplayReport:
        """Return the report; the events have come to their end, or to damage."""
        if damage is None:
            self._add(self._verifier.finish())
        return ReplayReport(self.session, self.events, tuple(self._found), damage)

    def _add(self, found: Divergence | None) -> None:
        if found is not None and found.sequence >= self.start:
            self._found.append(found)


def replay(session: SessionId, records: Iterable[Recorded], *, start: int = 1) -> ReplayReport:
    """Replay a session's events. Damage, where reading them raises it, ends the report.

    Args:
        records: from the first event on; a fork's begin with its parent's.
        start: sequence from which on divergences are reported.
    """
    found = Replay(session, start)
    try:
        found.take(records)
    except (FileInvalid, LogDamaged) as error:
        return found.finish(damage_of(error, found.events))
    return found.finish()


def damage_of(error: FileInvalid | LogDamaged, events: int) -> Damage:
    """Return what an error says is damaged, after so many good events."""
    about = not (isinstance(error, FileInvalid) and error.flaw in ("digest", "count"))
    return Damage(error.code, str(error), events + 1 if about else 0)


# --- for people -------------------------------------------------------------------------------


def explain(found: Divergence) -> str:
    """Return what differs, which facts led to it, and what to do, as lines without their end."""
    lines = [f"event {found.sequence}: {found.label}"]
    if found.kind == "changed":
        lines += _fields(found)
    else:
        lines += [
            f"  recorded  {_summary(found.recorded)}",
            f"  decided   {_summary(found.decided)}",
        ]
    if found.facts:
        lines.append("  the facts that led to it, the cause last:")
        lines += map(_fact_line, found.facts)
    return "\n".join((*lines, *(f"  {line}" for line in _advice(found))))


def _fields(found: Divergence) -> list[str]:
    lines: list[str] = []
    differences = found.differences
    for difference in differences[:_FIELDS]:
        recorded, decided = excerpts(difference.left, difference.right, _WIDTH)
        lines.append(f"  {path_text(difference.path)}")
        lines += [f"    recorded  {escaped(recorded)}", f"    decided   {escaped(decided)}"]
    if len(differences) > _FIELDS:
        lines.append(f"  … and {len(differences) - _FIELDS} more places")
    return lines


def _summary(decision: SessionDecision | None) -> str:
    if decision is None:
        return "(nothing)"
    values = event_object(decision)
    return escaped(f"{KIND_NAMES[type(decision)]} {value_text(plain(values))}", _WIDTH)


def _fact_line(fact: Recorded) -> str:
    text = escaped(value_text(plain(event_object(fact.event))), _WIDTH - 20)
    return f"    {fact.sequence:>6} {fact.kind:<20} {text}"


def _advice(found: Divergence) -> list[str]:
    cause = f"event {found.facts[-1].sequence}" if found.facts else "the first event"
    if isinstance(found.decided, StepFailed):
        return [f"Today's code raises where it decides about {cause}: repair it."]
    return [
        "Meant: `turnlog check DIR --accept` re-records exported files; stored sessions continue.",
        f"Not meant: find what changed in deciding about {cause}; if two replays differ, look for",
        "a clock, a random source, or the order of a set that is read in a core.",
    ]


# --- for programs -----------------------------------------------------------------------------


def divergence_object(found: Divergence) -> dict[str, Any]:
    """Return a divergence as JSON; of a place that one side does not have, that side is null."""
    return {
        "sequence": found.sequence,
        "kind": found.kind,
        "label": found.label,
        "recorded": _decision_object(found.recorded),
        "decided": _decision_object(found.decided),
        "differences": [
            {
                "path": path_text(difference.path),
                "recorded": None if difference.left is ABSENT else difference.left,
                "decided": None if difference.right is ABSENT else difference.right,
            }
            for difference in found.differences
        ],
        "facts": [record_object(fact) for fact in found.facts],
    }


def _decision_object(decision: SessionDecision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {"kind": KIND_NAMES[type(decision)], "event": event_object(decision)}
