"""What the ports of a recording share."""

import attrs

from turnlog.replay.rerun.child_ids import ChildIds
from turnlog.replay.rerun.recorded_order import RecordedOrder
from turnlog.replay.rerun.request_matching import Mismatch, UnrecordedRequest


@attrs.define(eq=False)
class Playback:
    """The state of one playback of a recording.

    Args:
        order: keeps the recorded order. By default every port answers at once.
        child_ids: the ids of children, by which the model and its calls name agents.
        mismatches: is given each request that the recording does not hold.
    """

    order: RecordedOrder = attrs.field(factory=RecordedOrder.none)
    child_ids: ChildIds = attrs.field(factory=lambda: ChildIds(frozenset()))
    mismatches: list[Mismatch] = attrs.field(factory=list[Mismatch])

    def without_order(self) -> "Playback":
        """Return the same playback for ports that answer at once."""
        return attrs.evolve(self, order=RecordedOrder.none())

    def unrecorded(self, mismatch: Mismatch) -> UnrecordedRequest:
        """Note a request that the recording does not hold, and return the error to raise."""
        self.mismatches.append(mismatch)
        self.order.give_up()
        return UnrecordedRequest(mismatch)
