"""The state of one data plane's subscription: messages sent, its answers, and the next message. Pure: no I/O, no
clock.

`sent` and `acked` are separate facts: a revision counts as applied only once the data plane has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import StrEnum

from controlplane.model.capabilities import Lacking, lacking
from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.snapshot import Delta, Snapshot


class Whole(StrEnum):
    """The reason for sending a full snapshot instead of a delta."""

    FIRST = "first"
    """It has nothing."""
    INSTEAD = "instead"
    """It has nothing, and refuses the published snapshot: it gets the one that the fleet accepted last."""
    UNKNOWN_BASE = "unknown_base"
    """No delta from its base is known here: the base is too old, or from another store."""
    MISMATCH = "mismatch"
    """The delta did not match its configuration."""
    NO_DELTAS = "no_deltas"
    """It takes no deltas."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Names a snapshot without holding on to it: a slow data plane keeps no old configuration in memory."""

    revision: int
    digest: str
    lineage: Lineage = UNKNOWN
    """Epoch of the store. With a higher epoch, earlier revisions mean nothing."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Mark:
        """The name of a snapshot."""
        return cls(snapshot.revision, snapshot.digest, snapshot.lineage)

    @property
    def order(self) -> tuple[int, int]:
        """Orders snapshots: greater for a later one."""
        return self.lineage.epoch, self.revision

    def leads(self, snapshot: Snapshot) -> bool:
        """Whether this is the snapshot's content under a later revision."""
        same = (self.digest, self.lineage) == (snapshot.digest, snapshot.lineage)
        return same and self.revision > snapshot.revision


Between = Callable[[Mark, Snapshot], Delta | None]
"""Returns the delta from a data plane's configuration to a snapshot; None when it is not known."""


class Subscriber:
    """One message is under way at a time, so that a slow reader skips intermediate revisions and gets the latest.

    Content decides, by its digest: a revision that changed nothing for data planes is no news, and one that was
    rejected is not sent again; in its place, a node that has nothing gets the snapshot that the fleet accepted last. A
    mark, an empty delta, tells that the revision moved on, when there is time.

    A configuration that needs a capability which the node lacks is withheld: the node keeps its configuration, and a
    node that has none gets none.
    """

    __slots__ = (
        "_between",
        "_capabilities",
        "_has_nothing",
        "_mismatched",
        "_refused_instead",
        "_unanswered",
        "acked",
        "held",
        "nacked",
        "sent",
        "whole",
        "withheld",
    )

    def __init__(
        self,
        held: Mark | None = None,
        between: Between | None = None,
        refused: Mark | None = None,
        capabilities: Set[str] = frozenset(),
    ) -> None:
        """`held` is the configuration that the node serves, `refused` the one that it cannot use, `capabilities` are
        those it named.

        Without `between` it gets snapshots only.
        """
        self.held = held
        """The configuration that every worker of the node serves, as far as known."""
        self.sent: Mark | None = None
        """The last message that was handed out."""
        self.acked: Mark | None = None
        """The last message that was answered by an ack."""
        self.nacked = refused
        """The last published snapshot that the node refused."""
        self.whole: Whole | None = None
        """The reason the last message was a snapshot; None when it was a delta."""
        self.withheld: Mark | None = None
        """The published configuration, while it is withheld from the node."""
        self._between = between
        self._capabilities = capabilities
        self._unanswered = False
        self._mismatched = False
        self._has_nothing = held is None
        """Whether the node serves nothing."""
        self._refused_instead = ""
        """Digest of the configuration that was sent instead, and refused as well."""

    def __repr__(self) -> str:
        marks = {"held": self.held, "sent": self.sent, "acked": self.acked, "nacked": self.nacked}
        facts = (f"{name} {mark.revision}" for name, mark in marks.items() if mark)
        return f"<Subscriber {', '.join(facts) or 'new'}{', unanswered' if self._unanswered else ''}>"

    @property
    def needs_fallback(self) -> bool:
        """Whether the node serves nothing and refused the snapshot: it needs an earlier configuration."""
        return self._has_nothing and self.nacked is not None and not self._unanswered

    def next(self, current: Snapshot | None, accepted: Snapshot | None = None) -> Snapshot | Delta | None:
        """The message to send now, when `current` is the published snapshot; None when there is no news.

        The returned message counts as sent. The first message is sent even if the node has everything: it tells the
        node that it is connected. `accepted` is the configuration that the whole fleet served before.
        """
        self.withheld = Mark.of(current) if current and self._must_not_have(current) else None
        if current is None or not self.news(current):
            return None
        if self.withheld:
            return self._greet(self.held) if self.sent is None and self.held and self._between else None
        if self._refuses(current):
            return self._instead(current, accepted)
        held = self.held
        if self.sent is None and held is not None and self._between is not None and held.leads(current):
            return self._greet(held)
        return self._send(current)

    def news(self, current: Snapshot) -> bool:
        """Whether `next` may send something; a refused snapshot may have to be replaced."""
        return not self._unanswered and (self._refuses(current) or not self._has(current))

    def mark(self, current: Snapshot | None) -> Snapshot | Delta | None:
        """The message that moves the node to the present revision, mostly an empty delta; None when it is there."""
        if current is None or not self.behind(current) or self._must_not_have(current):
            return None
        return self._send(current)

    def lacks(self, snapshot: Snapshot) -> Lacking | None:
        """The capabilities that the node lacks for this snapshot; None when it knows everything."""
        return lacking(snapshot.needs, self._capabilities)

    def behind(self, current: Snapshot) -> bool:
        """Whether the node has the content of `current` under an older revision, and could be told."""
        held = self.held
        if self._unanswered or self._between is None or held is None or self.sent is None:
            return False
        return held.digest == current.digest and held.order < Mark.of(current).order

    def ack(self, revision: int) -> Mark | None:
        """The node serves `revision`. Returns its mark, or None when it does not answer the last message."""
        if not self._answers(revision):
            return None
        self.held = self.acked = self.sent
        self._has_nothing = False
        return self.acked

    def nack(self, revision: int) -> Mark | None:
        """The node refuses `revision`. Returns its mark, or None when it does not answer a published revision."""
        if not self._answers(revision) or self.sent is None:
            return None
        if self.whole is Whole.INSTEAD:
            # Operators need its reason for refusing the published revision, and not this one.
            self._refused_instead = self.sent.digest
            return None
        self.nacked = self.sent
        return self.nacked

    def mismatch(self, revision: int) -> bool:
        """The delta to `revision` does not match the node's configuration: the next message is a snapshot.

        False when it does not answer the last message.
        """
        if not self._answers(revision):
            return False
        self.held = self.acked = None
        self._mismatched = True
        return True

    def _send(self, current: Snapshot) -> Snapshot | Delta:
        message: Delta | None = None
        if self.held is None:
            self.whole = Whole.MISMATCH if self._mismatched else Whole.FIRST
        elif self._between is None:
            self.whole = Whole.NO_DELTAS
        else:
            message = self._between(self.held, current)
            self.whole = Whole.UNKNOWN_BASE if message is None else None
        self.sent = Mark.of(current)
        self._unanswered, self._mismatched = True, False
        return message or current

    def _instead(self, current: Snapshot, accepted: Snapshot | None) -> Snapshot | Delta | None:
        """The message to send while `current` is refused."""
        if self._has_nothing and accepted is not None and self._may_help(accepted, current):
            self.sent, self.whole, self._unanswered = Mark.of(accepted), Whole.INSTEAD, True
            return accepted
        if self.sent is not None:
            return None
        if self.held is None or self._between is None:
            return self._send(current)
        return self._greet(self.held)

    def _greet(self, held: Mark) -> Delta:
        """An empty delta that tells the node that it is connected."""
        self.sent, self._unanswered, self.whole = held, True, None
        return Delta(held.revision, held.digest, held.revision, held.digest, {}, (), held.lineage)

    def _must_not_have(self, snapshot: Snapshot) -> bool:
        return not snapshot.needs.keys() <= self._capabilities

    def _may_help(self, accepted: Snapshot, current: Snapshot) -> bool:
        if self._must_not_have(accepted):
            return False
        return accepted.lineage == current.lineage and accepted.digest not in (
            current.digest,
            self._refused_instead,
        )

    def _answers(self, revision: int) -> bool:
        if not self._unanswered or self.sent is None or self.sent.revision != revision:
            return False
        self._unanswered = False
        return True

    def _refuses(self, current: Snapshot) -> bool:
        if self.nacked is None or self.nacked.digest != current.digest:
            return False
        return self.nacked.lineage.epoch == current.lineage.epoch

    def _has(self, current: Snapshot) -> bool:
        if self.sent is None:
            return False
        now = Mark.of(current)
        if now.order < self.sent.order:
            return True  # a data plane never goes back
        return self.held is not None and self.held.digest == now.digest
