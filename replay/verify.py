"""Offline replay of the core: the recorded facts, today's decisions.

Offline by construction: nothing that can reach a model, a process or the network is imported
here, or by what is.
"""

from collections.abc import Iterable, Iterator

import attrs

from turnlog.actors.core import rebuild as rebuilding
from turnlog.actors.core.session import decisions
from turnlog.actors.core.state import State
from turnlog.protocol.envelope import Recorded, UnknownEvent
from turnlog.protocol.events import Decision, SessionDecision


@attrs.frozen
class Divergence:
    """A place where today's code decides otherwise than the log says."""

    sequence: int
    recorded: SessionDecision | None  # None: the log has no decision here
    decided: SessionDecision | None  # None: today's code decides nothing here


def rebuild(records: Iterable[Recorded]) -> State:
    """Return the state after `records`, a session from its first event on."""
    return rebuilding.rebuild(records)


def divergences(records: Iterable[Recorded]) -> Iterator[Divergence]:
    """Yield each place where today's code decides otherwise.

    Goes on from the recorded decision, so that one difference does not drag others along. Of the
    decisions that the log lacks at the end of a step, the first is reported: what would come
    behind it depends on it. Events of unknown kinds are passed over. Deciding that raises is a
    decision, `StepFailed`.

    Args:
        records: a session from its first event on; a fork begins with its parent's.
    """
    state = State()
    today: Iterator[SessionDecision] = iter(())
    for record in records:
        event = record.event
        if isinstance(event, UnknownEvent):
            pass
        elif isinstance(event, Decision):
            decided = next(today, None)
            if decided != event:
                yield Divergence(record.sequence, event, decided)
        else:
            yield from _missing(record.sequence, today)
            today = decisions(state, event)  # it begins once the fact is applied
        rebuilding.rebuild((record,), state)
    yield from _missing(state.head + 1, today)


def _missing(sequence: int, today: Iterator[SessionDecision]) -> Iterator[Divergence]:
    if (decided := next(today, None)) is not None:
        yield Divergence(sequence, None, decided)
