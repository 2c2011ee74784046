"""How often the answers for a service are written. Pure: time is an argument.

An entry is written whole, and every control plane reads it again: services with many instances are written less often.
A source that fails in ever different ways, or works now and then, makes fewer and fewer writes by its problems. The
instances that it names are never held up by that.
"""

from __future__ import annotations

from dataclasses import dataclass

PER_INSTANCE = 0.001
"""Seconds between two writes for a service, for each of its instances."""
FIRST, LONGEST = 1.0, 300.0
"""Seconds between two problems of a silent source; doubles with each."""
FORGOTTEN = 900.0
"""Seconds without such a problem, after which the next one is the first."""


@dataclass(slots=True)
class _Service:
    free_from: float = 0.0
    """When anything may be written again."""
    silences: int = 0
    silent_at: float = 0.0
    """When a silence was written last."""


class Intervals:
    """The services that were written."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}

    def pause(self, name: str, now: float, *, silent: bool) -> float:
        """Seconds until an answer may be written; 0 when it may now. `silent`: the source does not answer."""
        known = self._services.get(name)
        if known is None:
            return 0.0
        until = known.free_from
        if silent and known.silences:
            until = max(until, known.silent_at + min(LONGEST, FIRST * 2.0 ** min(known.silences - 1, 20)))
        return max(0.0, until - now)

    def written(self, name: str, now: float, instances: int, *, silent: bool) -> None:
        """An answer was written."""
        known = self._services.setdefault(name, _Service())
        known.free_from = now + PER_INSTANCE * instances
        if silent:
            lately = known.silences and now < known.silent_at + FORGOTTEN
            known.silences, known.silent_at = (known.silences + 1 if lately else 1), now

    def forget(self, name: str) -> None:
        """The service has another source, or none."""
        self._services.pop(name, None)
