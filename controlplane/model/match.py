"""Conditions of a route on header fields and query parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from controlplane.model.base import Part
from controlplane.model.expressions import Expression
from controlplane.model.fields import HEADER, VISIBLE, Parameter
from controlplane.model.problems import Problem

KINDS: Final = ("exact", "regex", "present")

IDENTITY: Final = ("x-auth-subject", "x-auth-scopes")
"""Fields in which the gateway states the caller. What a client sends in them is dropped."""

Value = Annotated[str, Field(pattern=VISIBLE, min_length=1, max_length=4096)]


class _Condition(Part):
    """One of `exact`, `regex` and `present` is set."""

    exact: Annotated[Value | None, Field(description="The whole value.")] = None
    regex: Annotated[
        Expression | None, Field(description="A regular expression (RE2) that matches the whole value.")
    ] = None
    present: Annotated[Literal[True] | None, Field(description="It is there, with any value.")] = None

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One kind of comparison."""
        if sum(fields.get(kind) is not None for kind in KINDS) != 1:
            yield Problem("", "must have exactly one of exact, regex and present")


class HeaderMatch(_Condition):
    """A condition on a header field. Several fields of one name count as one, joined with commas (RFC 9110, 5.3)."""

    name: Annotated[
        str, Field(pattern=HEADER, description="Name of the header field, in lower case: names ignore case.")
    ]

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """No condition on a field that never comes from the client."""
        yield from super().rules(fields)
        if fields.get("name") in IDENTITY:
            yield Problem(
                "name", "must not be a field that the gateway sets: what clients send in it is dropped"
            )


class QueryMatch(_Condition):
    """A condition on a query parameter, decoded; of several with one name the first counts."""

    name: Annotated[Parameter, Field(description="Name of the parameter, decoded; case matters.")]
