"""Places for things that stay open: bounded in all, for each caller and for each address, and fair when they run short.

Without a reserve, a few callers with all the places that each may have would leave none to anybody else. The last
quarter is for callers who hold few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controlplane.identity.attempts import place


class Full(Exception):
    """No place for this caller. `bound`: which one it is; the message says it in a sentence without its full stop."""

    def __init__(self, bound: str, detail: str) -> None:
        super().__init__(detail)
        self.bound = bound


@dataclass(frozen=True, slots=True)
class Bounds:
    """Numbers of places."""

    most: int
    of_caller: int
    of_address: int | None = None
    """None: any number."""
    few: int = 1
    """Places that a caller may hold while only the last quarter is free."""

    @property
    def open(self) -> int:
        """Places that are not reserved for callers who hold few."""
        return self.most - self.most // 4


class Places:
    """The places that are taken. `what` are the things, in the plural."""

    def __init__(self, what: str, bounds: Bounds) -> None:
        self.refused = Counter[str]()
        """Callers without a place, by the bound: "caller", "address" or "all"."""
        self._what = what
        self._bounds = bounds
        self._callers = Counter[str]()
        self._addresses = Counter[str]()

    def __len__(self) -> int:
        return self._callers.total()

    @contextmanager
    def take(self, caller: str, address: str = "") -> Iterator[None]:
        """A place within the block. Raises Full. `address`: empty if it is not known, and then not bounded."""
        network = place(address) if address else ""
        self._check(caller, network)
        self._callers[caller] += 1
        self._addresses[network] += 1
        try:
            yield
        finally:
            self._free(self._callers, caller)
            self._free(self._addresses, network)

    def _check(self, caller: str, network: str) -> None:
        bounds, taken, own = self._bounds, len(self), self._callers[caller]
        if own >= bounds.of_caller:
            raise self._full("caller", f"{own} of this user are open, as many as one user may have")
        if network and bounds.of_address is not None and self._addresses[network] >= bounds.of_address:
            count = self._addresses[network]
            raise self._full("address", f"{count} from {network} are open, as many as one address may have")
        if taken >= bounds.most or (taken >= bounds.open and own >= bounds.few):
            raise self._full("all", f"{taken} are open in all, {own} of them of this user")

    def _full(self, bound: str, detail: str) -> Full:
        self.refused[bound] += 1
        return Full(bound, f"Too many {self._what}: {detail}")

    @staticmethod
    def _free(counts: Counter[str], key: str) -> None:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]
