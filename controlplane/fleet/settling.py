"""Whether every data plane that serves traffic is connected to some control plane, as far as known here. Pure.

A data plane whose stream ended still serves its configuration, and reconnects within seconds. Until then a wait for
"all" must not end without it. The same holds after a start, and until another control plane has reported its data
planes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNHEARD_FOR = 1.0
"""Least seconds for the data planes of a control plane that has sent nothing to become known."""


class Settling:
    """Times are monotonic seconds."""

    def __init__(self, now: float, settle: float) -> None:
        """`settle`: seconds within which data planes are back."""
        self._settle = settle
        self._started = now
        self._left: dict[str, float] = {}
        """Times at which data planes left; the last one at the end."""
        self._peers_unknown = False
        self._unheard: set[str] = set()

    @property
    def unheard(self) -> Sequence[str]:
        """Names of control planes that exist but have sent nothing yet, sorted."""
        return sorted(self._unheard)

    def await_peers(self) -> None:
        """There may be other control planes: see `met_peers`."""
        self._peers_unknown = True

    def met_peers(self, now: float) -> bool:
        """The other control planes are known from now on. Returns whether this is new."""
        if not self._peers_unknown:
            return False
        self._peers_unknown, self._started = False, now
        return True

    def expect(self, controlplane: str) -> None:
        """There is a control plane that has sent nothing yet."""
        self._unheard.add(controlplane)

    def heard(self, controlplane: str) -> None:
        """It has reported its data planes, or is gone."""
        self._unheard.discard(controlplane)

    def leave(self, node: str, now: float) -> None:
        """A data plane left, and is expected back."""
        while self._left and (first := next(iter(self._left))) and self._left[first] <= now - self._settle:
            del self._left[first]
        self._left.pop(node, None)
        self._left[node] = now

    def remaining(self, now: float, is_away: Callable[[str], bool]) -> float:
        """Seconds for which a data plane may still come back; 0: all are here. `is_away`: whether one that left is
        known, and connected nowhere.
        """
        if self._unheard:
            return max(self._settle, UNHEARD_FOR)
        if self._peers_unknown:
            return self._settle
        recently = now - self._settle
        since = (at for node, at in self._left.items() if at > recently and is_away(node))
        return max(0.0, max((self._started, *since)) - recently)
