"""How long a route's requests may take, and when they are sent again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from controlplane.model.base import Part
from controlplane.model.fields import AsList, Method, Unique
from controlplane.model.problems import Problem
from controlplane.model.service import spelled_conditions

MOST_ATTEMPTS: Final = 10

CAUSES: Final = ("connect", "reset", "timeout")


def _check_condition(value: object) -> object:
    if value in CAUSES or (type(value) is int and 400 <= value <= 599):
        return value
    raise PydanticCustomError("condition", "must be connect, reset, timeout, or a status from 400 to 599")


_Condition = Annotated[
    str | int,
    BeforeValidator(_check_condition),
    WithJsonSchema({"anyOf": [{"enum": list(CAUSES)}, {"type": "integer", "minimum": 400, "maximum": 599}]}),
]
RequestTimeout = Annotated[
    float | None,
    Field(
        ge=0,
        le=86_400,
        description="Seconds for the whole request, from its head to the end of the response, retries included; 0: no "
        "limit; by default timeouts.total of the service.",
    ),
]
TryTimeout = Annotated[
    float | None,
    Field(
        ge=0,
        le=86_400,
        description="Seconds for each try, from its first byte to the end of the response; 0 or left out: no limit.",
    ),
]


class RouteRetries(Part):
    """Retries of a route's requests, instead of those of its service; the budget of the service holds."""

    attempts: Annotated[
        int, Field(ge=0, le=MOST_ATTEMPTS, description="Attempts after the first; 0 switches retries off.")
    ] = 1
    on: Annotated[
        tuple[_Condition, ...],
        AsList,
        Field(
            max_length=32,
            description="Conditions for a retry: no connection, the connection lost before the response, no response "
            "in time, or a status from 400 to 599.",
        ),
        Unique,
    ] = ("connect",)
    backoff: Annotated[
        float | None,
        Field(
            ge=0.001,
            le=60,
            description="Seconds before the first retry, at least; doubled with each further one, up to ten times, and "
            "up to half of it longer. By default 0 to 0.25, and none after the first refused connection.",
        ),
    ] = None
    methods: Annotated[
        tuple[Method, ...],
        AsList,
        Field(
            max_length=32,
            description="Methods of requests that may be sent twice; empty: the idempotent ones (RFC 9110, 9.2.2).",
        ),
        Unique,
    ] = ()

    @classmethod
    def prepare(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        """As `Retries` of a service."""
        return spelled_conditions(fields)


def time_problems(fields: Mapping[str, object]) -> Iterable[Problem]:
    """A try takes no longer than its request (Gateway API, HTTPRouteTimeouts)."""
    whole, each = fields.get("request_timeout"), fields.get("try_timeout")
    if not isinstance(whole, int | float) or not isinstance(each, int | float):
        return
    if 0 < whole < each:
        yield Problem("try_timeout", f"must be at most request_timeout, which is {whole:g}")
