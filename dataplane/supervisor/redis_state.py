"""The state of Redis as seen by all workers of this node; logged when it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class RedisOutage:
    """Redis does not answer."""

    since: float
    """Unix seconds."""
    reason: str


class RedisState:
    """The state of the node: one outage lasts from the first worker's loss to the last worker's return."""

    def __init__(self) -> None:
        self.outage: RedisOutage | None = None

    def update(self, outages: Iterable[RedisOutage] | None, now: float) -> None:
        """These workers are without Redis at Unix time `now`. None: no worker knows, so that nothing has changed."""
        if outages is None:
            return
        before, seen = self.outage, min(outages, default=None)
        if seen is None:
            self.outage = None
            if before is not None:
                _log.warning("Redis answers again", extra={"seconds": round(max(0.0, now - before.since), 3)})
        elif before is None:
            self.outage = seen
            _log.error("Failed to connect to Redis", extra={"reason": seen.reason})
        else:
            self.outage = RedisOutage(before.since, seen.reason)
