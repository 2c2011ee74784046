"""What one data plane was sent, what it answered, and what it gets next. Pure: no I/O, no clock.

`sent` and `acked` are separate facts: a revision counts as applied only once the data plane said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.snapshot import Delta, Snapshot


@dataclass(frozen=True, slots=True)
class Mark:
    """Names a snapshot without holding on to it: a slow data plane keeps no old configuration in memory."""

    revision: int
    digest: str
    lineage: Lineage = UNKNOWN
    """Of the store. With a higher epoch, what came before means nothing."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Mark:
        """The name of a snapshot."""
        return cls(snapshot.revision, snapshot.digest, snapshot.lineage)

    @property
    def order(self) -> tuple[int, int]:
        """What grows from one snapshot to a later one."""
        return self.lineage.epoch, self.revision


Between = Callable[[Mark, Snapshot], Delta | None]
"""Gives the delta from what a data plane has to a snapshot; None when it is not known."""


class Subscriber:
    """One message is under way at a time, so that a slow reader skips what it missed and gets the latest.

    Content decides, by its digest: a revision that changed nothing for data planes is no news, and one that was
    rejected is not sent again. That the revision moved on is told by a mark, an empty delta, when there is time.
    """

    __slots__ = ("_between", "_unanswered", "acked", "held", "nacked", "sent")

    def __init__(self, held: Mark | None = None, between: Between | None = None) -> None:
        """`held` is what the node says it serves; without `between` it gets snapshots only."""
        self.held = held
        """What every worker of the node serves, as far as it is known."""
        self.sent: Mark | None = None
        """The last that was handed out."""
        self.acked: Mark | None = None
        """The last that was answered by an ack."""
        self.nacked: Mark | None = None
        """The last that the node refused."""
        self._between = between
        self._unanswered = False

    def __repr__(self) -> str:
        marks = {"held": self.held, "sent": self.sent, "acked": self.acked, "nacked": self.nacked}
        facts = (f"{name} {mark.revision}" for name, mark in marks.items() if mark)
        return f"<Subscriber {', '.join(facts) or 'new'}{', unanswered' if self._unanswered else ''}>"

    def next(self, current: Snapshot | None) -> Snapshot | Delta | None:
        """What to send now, when `current` is the published snapshot; None when there is no news.

        What is returned counts as sent. The first message is sent even if the node has everything: it tells the node
        that it is connected.
        """
        return self._send(current) if current is not None and self.news(current) else None

    def news(self, current: Snapshot) -> bool:
        """Whether `next` would send something."""
        return not self._unanswered and not self._has(current)

    def mark(self, current: Snapshot | None) -> Snapshot | Delta | None:
        """What moves the node to the present revision, an empty delta mostly; None when there is nothing to move."""
        return self._send(current) if current is not None and self.behind(current) else None

    def behind(self, current: Snapshot) -> bool:
        """Whether the node has the content of `current` under an older revision, and could be told."""
        held = self.held
        if self._unanswered or self._between is None or held is None or self.sent is None:
            return False
        return held.digest == current.digest and held.order < Mark.of(current).order

    def ack(self, revision: int) -> Mark | None:
        """The node serves `revision`. Returns its mark, or None when that is no answer to what was sent."""
        if not self._answers(revision):
            return None
        self.held = self.acked = self.sent
        return self.acked

    def nack(self, revision: int) -> Mark | None:
        """The node refuses `revision`. Returns its mark, or None when that is no answer to what was sent."""
        if not self._answers(revision):
            return None
        self.nacked = self.sent
        return self.nacked

    def mismatch(self, revision: int) -> bool:
        """The delta to `revision` does not fit what the node has: the next message is a snapshot.

        False when that is no answer to what was sent.
        """
        if not self._answers(revision):
            return False
        self.held = self.acked = None
        return True

    def _send(self, current: Snapshot) -> Snapshot | Delta:
        message: Snapshot | Delta | None = None
        if self._between is not None and self.held is not None:
            message = self._between(self.held, current)
        self.sent = Mark.of(current)
        self._unanswered = True
        return message or current

    def _answers(self, revision: int) -> bool:
        if not self._unanswered or self.sent is None or self.sent.revision != revision:
            return False
        self._unanswered = False
        return True

    def _has(self, current: Snapshot) -> bool:
        if self.sent is None:
            return False
        now = Mark.of(current)
        if now.order < self.sent.order:
            return True  # a data plane never goes back
        if self.nacked is not None and self.nacked.digest == now.digest:
            return self.nacked.lineage.epoch == now.lineage.epoch
        return self.held is not None and self.held.digest == now.digest
