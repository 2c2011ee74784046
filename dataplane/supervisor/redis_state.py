"""The state of Redis as seen by all workers of this node; logged when it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class RedisOutage:
    """Redis does not answer, or refuses what limits need."""

    since: float
    """Unix seconds."""
    reason: str
    lacks: str = ""
    """The missing rule in our user's ACL: Redis answers, but refuses. Empty: it does not answer."""
    denied: bool = False
    """It refuses our user or password."""


class RedisState:
    """The state of the node: one outage lasts from the first worker's loss to the last worker's return."""

    def __init__(self) -> None:
        self.outage: RedisOutage | None = None

    def update(self, outages: Iterable[RedisOutage] | None, now: float) -> None:
        """These workers are without Redis at Unix time `now`. None: no worker has reported, so nothing has changed."""
        if outages is None:
            return
        before, seen = self.outage, min(outages, default=None)
        if seen is None:
            self.outage = None
            if before is not None:
                seconds = {"seconds": round(max(0.0, now - before.since), 3)}
                if before.lacks:
                    _log.warning("Redis accepts limits again", extra=seconds)
                else:
                    _log.warning("Redis answers again", extra=seconds)
        elif before is None or (seen.lacks, seen.denied) != (before.lacks, before.denied):
            self.outage = seen if before is None else replace(seen, since=before.since)
            if seen.lacks:
                _log.error(
                    "Redis refuses limits: the ACL of the user in REDIS_URL lacks a rule",
                    extra={"lacks": seen.lacks, "reason": seen.reason},
                )
            else:
                refused = "it refuses the gateway's user or password: " if seen.denied else ""
                _log.error("Failed to connect to Redis", extra={"reason": f"{refused}{seen.reason}"})
        else:
            self.outage = replace(seen, since=before.since)
