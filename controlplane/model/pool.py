"""Pools: groups of data planes that are sent a part of the configuration only.

A data plane belongs to the one pool that its credential names, and to DEFAULT_POOL if it names none. Listeners and
routes name the pools that serve them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from controlplane.model.base import Resource
from controlplane.model.fields import AsList, Name, Unique
from controlplane.model.problems import Problem
from controlplane.model.registration import ServiceAccount

DEFAULT_POOL: Final = "default"
"""The pool of data planes whose credential names none. It is not a resource."""


class Pool(Resource):
    """A group of data planes, which belong to it by their credential."""

    KIND: ClassVar[str] = "pool"
    PLURAL: ClassVar[str] = "pools"
    GIVEN: ClassVar[frozenset[str]] = frozenset({DEFAULT_POOL})
    DATA_PLANES: ClassVar[bool] = False
    """A data plane need not know of other pools, nor of its own."""
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"name": "edge"}

    name: Annotated[Name, Field(max_length=63)]
    kubernetes: Annotated[
        tuple[ServiceAccount, ...],
        AsList,
        Field(
            max_length=64,
            description="Service accounts of Kubernetes whose pods are data planes of the pool, with a projected "
            "token (control planes with SERVICE_ACCOUNT_TOKENS); beside holders of the pool's tokens and certificates.",
        ),
        Unique,
    ] = ()

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """The name of the pool of all other data planes is taken."""
        if fields.get("name") == DEFAULT_POOL:
            detail = f"{DEFAULT_POOL!r} is the pool of the data planes whose credential names none"
            yield Problem("name", detail)


def serves(pools: Sequence[str], pool: str) -> bool:
    """Whether a listener or route that names these pools is for data planes of this one."""
    return not pools or pool in pools


def in_common(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether there is a pool that serves two listeners or routes, which name these pools."""
    return not one or not other or not set(one).isdisjoint(other)
