"""Pieces of a result, and how samples become figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Part:
    """What one of the measurements found."""

    figures: dict[str, float] = field(default_factory=dict)
    """By their stable names."""
    lines: list[str] = field(default_factory=list)
    """A table for people."""
    errors: int = 0
    """Requests that were not answered as they should; any makes the run worthless."""
    waited: list[float] = field(default_factory=list)
    """For how much of the time the proxy waited for a CPU, sample by sample."""


def joined(parts: Sequence[Part]) -> Part:
    """Several as one, their tables one below the other."""
    whole = Part()
    for part in parts:
        whole.figures |= part.figures
        whole.lines += ["", *part.lines] if whole.lines and part.lines else part.lines
        whole.errors += part.errors
        whole.waited += part.waited
    return whole


def paired(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: a machine that is slower for a while is so for both sides of a round."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def snake(name: str) -> str:
    """ "headgate policy" as part of a figure's name."""
    return name.replace(" ", "_")


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """As they are written."""
    return {name: round(value, 3) for name, value in figures.items()}
