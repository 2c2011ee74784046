"""What one data plane was sent, what it answered, and what it gets next. Pure: no I/O, no clock.

`sent` and `acked` are separate facts: a snapshot counts as applied only once the data plane said so.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Mark:
    """Names a snapshot without holding on to it: a slow data plane keeps no old configuration in memory."""

    revision: int
    digest: str
    epoch: int = 0
    """Of the store's lineage: with a higher one, what came before means nothing."""


class Subscriber:
    """One snapshot is under way at a time, so that a slow reader skips what it missed and gets the latest.

    Content decides, by its digest: a revision that changed nothing for data planes is not sent, and one that was
    rejected is not sent again.
    """

    __slots__ = ("_unanswered", "acked", "nacked", "sent")

    def __init__(self) -> None:
        self.sent: Mark | None = None
        """The last that was handed out."""
        self.acked: Mark | None = None
        """The last that every worker of the node serves."""
        self.nacked: Mark | None = None
        """The last that the node refused."""
        self._unanswered = False

    def __repr__(self) -> str:
        marks = {"sent": self.sent, "acked": self.acked, "nacked": self.nacked}
        facts = (f"{name} {mark.revision}" for name, mark in marks.items() if mark)
        return f"<Subscriber {', '.join(facts) or 'new'}{', unanswered' if self._unanswered else ''}>"

    def next(self, current: Snapshot | None) -> Snapshot | None:
        """The snapshot to send now, when `current` is the published one; None when there is nothing to send.

        What is returned counts as sent.
        """
        if current is None or self._unanswered or self._has(current):
            return None
        self.sent = Mark(current.revision, current.digest, current.lineage.epoch)
        self._unanswered = True
        return current

    def ack(self, revision: int) -> Mark | None:
        """The node serves `revision`. Returns its mark, or None when that is no answer to what was sent."""
        if not self._answers(revision):
            return None
        self.acked = self.sent
        return self.acked

    def nack(self, revision: int) -> Mark | None:
        """The node refuses `revision`. Returns its mark, or None when that is no answer to what was sent."""
        if not self._answers(revision):
            return None
        self.nacked = self.sent
        return self.nacked

    def _answers(self, revision: int) -> bool:
        if not self._unanswered or self.sent is None or self.sent.revision != revision:
            return False
        self._unanswered = False
        return True

    def _has(self, current: Snapshot) -> bool:
        epoch = current.lineage.epoch
        if self.sent is not None and (epoch, current.revision) < (self.sent.epoch, self.sent.revision):
            return True  # a data plane never goes back
        if self.nacked is not None and (self.nacked.digest, self.nacked.epoch) == (current.digest, epoch):
            return True
        return self.acked is not None and self.acked.digest == current.digest
