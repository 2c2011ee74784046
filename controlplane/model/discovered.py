"""What discovery has found for a service: written by the elected control plane, one entry for each service.

One entry, so that an answer of the source is adopted whole, together with its state. Each instance keeps the revision
at which it was first found as it is: data planes are sent only those that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from controlplane.model.base import Resource
from controlplane.model.discovery import Discovery
from controlplane.model.fields import AsList, Name
from controlplane.model.problems import Problem
from controlplane.model.service import Instance, StaticInstance, repeated

MOST_FOUND: Final = 1000
"""Instances of one service."""
LONGEST_PROBLEM: Final = 300


class Found(StaticInstance):
    """An instance as the source names it."""

    draining: Annotated[
        bool, Field(description="The instance takes no new requests; requests in flight may finish.")
    ] = False


class DiscoveredInstance(Found):
    """An instance that was found."""

    revision: Annotated[int, Field(ge=1, description="Store revision at which it was first found as it is.")]

    @classmethod
    def of(cls, found: Found, revision: int) -> DiscoveredInstance:
        """The instance, found at this revision."""
        return cls(**dict(found), revision=revision)

    def equals(self, found: Found) -> bool:
        """Whether it was found as this one. Makes no object: it is called for every instance of every answer."""
        return all(getattr(self, name) == value for name, value in found)

    def instance(self, service_name: str) -> Instance:
        """The instance as data planes get it."""
        found = {name: value for name, value in self if name != "revision"}
        return Instance(service_name=service_name, **found)


class Discovered(Resource):
    """The instances of a service as its source named them last, and whether the source answers."""

    KIND: ClassVar[str] = "discovered"
    PLURAL: ClassVar[str] = "discovered"
    NAMED_BY: ClassVar[str] = "service_name"
    DOCUMENTS: ClassVar[bool] = False
    DATA_PLANES: ClassVar[bool] = False

    service_name: Name
    instances: Annotated[tuple[DiscoveredInstance, ...], AsList, Field(max_length=MOST_FOUND)] = ()
    problem: Annotated[
        str, Field(max_length=LONGEST_PROBLEM, description="What is wrong with the source; empty: nothing.")
    ] = ""
    since: Annotated[
        float, Field(ge=0, description="Unix seconds since which there is a problem; 0: none.")
    ] = 0.0

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service_name

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """No instance_id twice."""
        return repeated(fields.get("instances"))


@dataclass(frozen=True, slots=True)
class State:
    """Whether the source of a service answers, as people see it."""

    source: str
    instances: int
    """Known instances, whether the source still answers or not."""
    problem: str
    """Empty: none."""
    since: float
    """Unix seconds since which there is a problem; 0: none, or unknown."""


def state_of(discovery: Discovery, found: Discovered | None) -> State:
    """The state of a service's discovery; `found` is None before the first answer."""
    if found is None:
        return State(discovery.source, 0, "no answer yet", 0.0)
    return State(discovery.source, len(found.instances), found.problem, found.since)
