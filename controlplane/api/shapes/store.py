"""The store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.api.shapes.base import Shape


class LineageShape(Shape):
    """Which store it is, and when an operator last confirmed it."""

    id: Annotated[str, Field(description="Id of the store; empty when the store has none.")]
    epoch: Annotated[int, Field(description="Unix milliseconds of the last confirmation; 0 for never.")]


class ServedShape(Shape):
    """The published configuration."""

    revision: int
    lineage: LineageShape


class StoreShape(Shape):
    """The store, and whether its content is published."""

    connected: bool
    frozen: Annotated[
        bool,
        Field(
            description="The fleet keeps its configuration until an operator confirms the store's content."
        ),
    ]
    reason: Annotated[str, Field(description="The reason why it is frozen; empty when it is not.")]
    revision: int
    lineage: LineageShape
    served: ServedShape


class ConfirmedShape(Shape):
    """The store's content is published from here on."""

    revision: int
    lineage: LineageShape
    reason: Annotated[
        str,
        Field(
            description="The doubt about the store that the confirmation settled; empty when there was none."
        ),
    ]
