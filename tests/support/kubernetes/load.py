"""Load that runs in a pod, and what it has counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes.kubectl import Kubectl
from tests.support.waiting import eventually_now


@dataclass(frozen=True, slots=True)
class Counts:
    """What the load has counted since it began."""

    answered: Counter[str]
    """Answers by pod."""
    failed: Counter[str]
    """Failed requests by error."""
    slowest: float
    """Seconds from when the request was due until its answer."""
    seconds: float
    """The time since the load began."""

    @property
    def total(self) -> int:
        return self.answered.total() + self.failed.total()

    def rate_since(self, before: Counts) -> float:
        """Requests a second."""
        return (self.total - before.total) / (self.seconds - before.seconds)


@dataclass(frozen=True, slots=True)
class Load:
    """Load that runs in a pod of this name."""

    kubectl: Kubectl
    name: str
    rate: int
    """Requests a second."""

    def counts(self) -> Counts:
        """The newest ones, at most a second old."""
        found: dict[str, Any] = json.loads(self.kubectl.run("logs", self.name, "--tail=1"))
        failed = Counter[str](found["failed"])
        return Counts(Counter(found["answered"]), failed, found["slowest"], found["seconds"])

    def more(self) -> Counts:
        """Wait for the requests of two further seconds."""
        before = eventually_now(self.counts, every=0.5).total

        def enough() -> Counts | None:
            found = self.counts()
            return found if found.total >= before + 2 * self.rate else None

        found = eventually_now(enough, within=120, every=0.5)
        assert found is not None
        return found

    def stop(self) -> None:
        """End it at once."""
        self.kubectl.run("delete", "pod", self.name, "--now")
