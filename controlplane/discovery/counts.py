"""Numbers of discovery, for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DiscoveryCounts:
    """What discovery does in this process."""

    leads: bool = False
    """Whether this control plane runs it."""
    written: int = 0
    """Answers of sources that were written."""
