"""Resident memory of processes over time, and whether it is flat."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from tests.benchmarks.contenders import MIB

WARM_UP = 1 / 3
"""The share of a run that is not judged: caches and pools fill."""
ALLOWED_MIB = 4.0
"""Growth over the rest of the run that is still called flat; allocators keep some pages for later."""
ALLOWED_SHARE = 0.05
"""The same as a share of what the process had; the greater of the two counts."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the straight line with the least squares through (x, y); 0.0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@dataclass
class Series:
    """One process: (seconds since the start, MiB)."""

    points: list[tuple[float, float]] = field(default_factory=list)

    def judged(self) -> list[tuple[float, float]]:
        """The points after the warm-up."""
        return self.points[int(len(self.points) * WARM_UP) :]

    @property
    def growth(self) -> float:
        """MiB by which it grew over the judged part, along the line through all its points."""
        judged = self.judged()
        return slope(judged) * (judged[-1][0] - judged[0][0]) if judged else 0.0

    @property
    def flat(self) -> bool:
        """Whether the growth is within what is allowed."""
        judged = self.judged()
        return not judged or self.growth <= max(ALLOWED_MIB, ALLOWED_SHARE * judged[0][1])

    def report(self) -> dict[str, object]:
        """In figures, MiB."""
        sizes = [size for _, size in self.points]
        return {
            "first": round(sizes[0], 1),
            "last": round(sizes[-1], 1),
            "most": round(max(sizes), 1),
            "growth": round(self.growth, 2),
            "slope_per_hour": round(slope(self.judged()) * 3600, 2),
            "flat": self.flat,
        }


class Memory:
    """The processes that are watched, by name."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self.series = {name: Series() for name in processes}

    def sample(self, seconds: float) -> None:
        """Look at every process that is still there."""
        for name, process in self._processes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.series[name].points.append((seconds, process.memory_info().rss / MIB))
