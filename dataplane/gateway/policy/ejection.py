"""Passive ejection: an instance that keeps failing gets no requests for a while, so that it does not open the breaker.

The same as Envoy's outlier detection by consecutive failures (Envoy documentation, "Outlier detection"). An instance is
ejected after `failures` failures in a row: min(5, the circuit's `failure_threshold`), so that ejection comes before the
breaker opens. The first ejection lasts the circuit's `recovery_timeout`, each further one that much longer, up to ten
times as long. Ejections are forgotten when the instance has been back for as long as its last one lasted. An instance
that returns is on probation: one failure ejects it again.

At most half of the instances of a service that take requests are ejected, and never the last one: the breaker judges
the rest. Each worker decides for itself, by the requests that it carried. Time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from dataplane.gateway.policy.resources import Circuit

CONSECUTIVE: Final = 5
"""Failures in a row that eject an instance, at most; Envoy's default for consecutive 5xx."""
LONGEST: Final = 10
"""Times the first ejection that an ejection lasts at most; Envoy: 300 s and 30 s."""


@dataclass(slots=True)
class _Past:
    """Ejections of one instance."""

    times: int
    """In a row."""
    forgotten: float
    """Time from which they no longer count."""


class Ejector:
    """The ejected instances of one service, by id."""

    __slots__ = ("_base", "_limit", "_past", "_probation", "ejected", "next_return", "streaks")

    def __init__(self, circuit: Circuit) -> None:
        self.streaks: dict[str, int] = {}
        """Failures in a row, of the instances that have any."""
        self.ejected: dict[str, float] = {}
        """Time at which each ejected instance returns."""
        self.next_return = math.inf
        self._probation: set[str] = set()
        """Instances that returned, and neither failed nor succeeded since; they are in `streaks` too."""
        self._past: dict[str, _Past] = {}
        self.adopt(circuit)

    def adopt(self, circuit: Circuit) -> None:
        """Use the settings of this circuit from now on; ejections in force keep their end."""
        self._limit = min(CONSECUTIVE, circuit.failure_threshold)
        self._base = circuit.recovery_timeout

    def failed(self, instance: str, taking: int, now: float) -> int:
        """Count a failure of `instance`, while `taking` instances of the service take requests.

        Returns the number of failures in a row if they ejected the instance just now, or 0.
        """
        if instance in self.ejected:
            return 0
        streak = self.streaks[instance] = self.streaks.get(instance, 0) + 1
        needed = 1 if instance in self._probation else self._limit
        if streak < needed or not self._may_eject(taking):
            return 0
        self._eject(instance, now)
        return streak

    def succeeded(self, instance: str) -> None:
        """A success ends the streak. Worth calling only for instances in `streaks`."""
        self.streaks.pop(instance, None)
        self._probation.discard(instance)

    def reinstate(self, now: float) -> bool:
        """End the ejections that are over; whether there were any."""
        over = [instance for instance, until in self.ejected.items() if until <= now]
        for instance in over:
            del self.ejected[instance]
            self.streaks[instance] = 0
        self._probation.update(over)
        self._note_next_return()
        return bool(over)

    def available(self, candidates: Collection[str]) -> Collection[str]:
        """The instances of `candidates` (those that may take requests) that are not ejected.

        If more than half of them are ejected, because other instances became unhealthy meanwhile, all ejections end.
        """
        if not self.ejected:
            return candidates
        left = [instance for instance in candidates if instance not in self.ejected]
        if 2 * len(left) >= len(candidates):
            return left
        self.ejected.clear()
        self._note_next_return()
        return candidates

    def keep(self, instances: Iterable[str]) -> None:
        """Forget all instances but these."""
        known = set(instances)
        for table in (self.streaks, self.ejected, self._past):
            for instance in table.keys() - known:
                del table[instance]
        self._probation &= known
        self._note_next_return()

    def twin(self, circuit: Circuit) -> Ejector:
        """A copy with the settings of this circuit, which shares nothing with this one."""
        twin = Ejector(circuit)
        twin.streaks, twin.ejected = dict(self.streaks), dict(self.ejected)
        twin.next_return, twin._probation = self.next_return, set(self._probation)
        return twin

    def _may_eject(self, taking: int) -> bool:
        """Whether no more than half are ejected when one more is."""
        return 2 * (taking - 1) >= taking + len(self.ejected)

    def _eject(self, instance: str, now: float) -> None:
        past = self._past.get(instance)
        times = 1 if past is None or now >= past.forgotten else past.times + 1
        duration = self._base * min(times, LONGEST)
        self._past[instance] = _Past(times, now + 2 * duration)
        self.ejected[instance] = now + duration
        self.streaks.pop(instance, None)
        self._probation.discard(instance)
        self._note_next_return()

    def _note_next_return(self) -> None:
        self.next_return = min(self.ejected.values(), default=math.inf)
