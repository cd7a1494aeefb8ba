"""One session's replay as a line: small, and fit to come from another process."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from turnlog.protocol.errors import TurnlogError
from turnlog.replay.verify.report import ReplayReport, divergence_object, explain

Status = Literal["same", "different", "damaged", "accepted", "error"]


class Verdict(Struct, frozen=True):
    """What came of one session or file. Its form as JSON is stable; fields are only added."""

    name: str  # of the file, or the session's id
    status: Status
    session: str = ""
    events: int = 0  # that were compared
    divergences: int = 0
    by_kind: dict[str, int] = {}
    first: dict[str, Any] | None = None  # the first divergence
    explained: str = ""  # the same, for people
    code: str = ""  # of the error, the damage, or why a change could not be accepted
    message: str = ""

    @property
    def is_good(self) -> bool:
        return self.status in ("same", "accepted")


class Totals(Struct, frozen=True):
    """What came of many."""

    sessions: int
    events: int
    by_status: dict[Status, int]
    by_kind: dict[str, int]  # divergences


def verdict_of(name: str, report: ReplayReport) -> Verdict:
    """Return a report in short. What was damaged is called so, whatever differs before it."""
    damage, found = report.damage, report.divergences
    return Verdict(
        name,
        "damaged" if damage else "different" if found else "same",
        report.session,
        report.events,
        len(found),
        report.counts(),
        divergence_object(found[0]) if found else None,
        explain(found[0]) if found else "",
        damage.code if damage else "",
        damage.message if damage else "",
    )


def failed(name: str, error: TurnlogError) -> Verdict:
    """Return the verdict on what could not be replayed at all."""
    return Verdict(name, "error", code=error.code, message=str(error))


def total(verdicts: Iterable[Verdict]) -> Totals:
    """Add verdicts up."""
    sessions = events = 0
    by_status, by_kind = Counter[Status](), Counter[str]()
    for verdict in verdicts:
        sessions, events = sessions + 1, events + verdict.events
        by_status[verdict.status] += 1
        by_kind.update(verdict.by_kind)
    return Totals(sessions, events, dict(by_status.most_common()), dict(by_kind.most_common()))
