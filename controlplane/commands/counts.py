"""What became of registrations and keep-alives, as plain numbers for metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Since the start of this control plane."""

    registered: int = 0
    """Registrations under a new lease, a holder that joined others among them."""
    left: int = 0
    """Goodbyes of holders, and instances that were taken out."""
    renewed: int = 0
    """Leases that a keep-alive renewed."""
    ended: int = 0
    """Keep-alives of leases that had ended, or held another instance."""
    failed: int = 0
    """Keep-alives that the store did not carry out."""
    streams: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Keep-alive streams that are open, and the leases that they hold."""
