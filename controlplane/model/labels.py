"""Labels as a selection of resources, and the label by which a program marks resources as its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Wanted = Sequence[tuple[str, str | None]]
"""Names of labels with their values; None: any value. All must match."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""The label of a resource that a program writes, and removes again by itself (as in Kubernetes)."""


def selects(wanted: Wanted, labels: Mapping[str, str]) -> bool:
    """Whether a resource with these labels is selected; an empty selection selects all."""
    return all(name in labels and value in (None, labels[name]) for name, value in wanted)


def written(wanted: Wanted) -> str:
    """The selection as people write it."""
    return ", ".join(name if value is None else f"{name}={value}" for name, value in wanted)
