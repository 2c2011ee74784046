"""A service that is asked about each request of a route before it is forwarded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from controlplane.model.base import Part
from controlplane.model.edits import REQUEST, RESPONSE
from controlplane.model.fields import HEADER, AsList, Name, PathText, Unique
from controlplane.model.problems import Problem

_FieldName = Annotated[str, Field(pattern=HEADER)]


class Authorization(Part):
    """The service, what it is asked, and what its answer does. 2xx lets the request pass."""

    service_name: Annotated[Name, Field(description="Service that is asked.")]
    path: Annotated[PathText, Field(description="Path of the GET request to it.")] = "/"
    request_headers: Annotated[
        tuple[_FieldName, ...],
        AsList,
        Field(max_length=32, description="Header fields of the client's request that it gets."),
        Unique,
    ] = ("authorization", "cookie")
    to_service: Annotated[
        tuple[_FieldName, ...],
        AsList,
        Field(
            max_length=32,
            description="Header fields of its answer that the route's service gets. The client's own are removed.",
        ),
        Unique,
    ] = ()
    to_client: Annotated[
        tuple[_FieldName, ...],
        AsList,
        Field(max_length=32, description="Header fields of its refusal that the client gets."),
        Unique,
    ] = ("www-authenticate", "location", "set-cookie", "retry-after")
    timeout: Annotated[float, Field(ge=0.01, le=5, description="Seconds for its answer.")] = 1.0
    cache_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="Seconds for which an answer that lets a request pass is used again; 0: never.",
        ),
    ] = 0.0
    cache_key: Annotated[
        tuple[_FieldName, ...],
        AsList,
        Field(
            max_length=8,
            description="Header fields of the request that alone decide, such as authorization: an answer is used "
            "again for requests with the same values. By default all that the service gets must be the same.",
        ),
        Unique,
    ] = ()
    fail_open: Annotated[
        bool, Field(description="Requests pass while the service does not answer, instead of 503.")
    ] = False

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """The gateway's own fields are nobody else's, and the service sees what decides."""
        for field, taken in (("to_service", REQUEST), ("to_client", RESPONSE)):
            for position, name in enumerate(_names(fields.get(field))):
                if name in taken:
                    yield Problem(
                        f"{field}[{position}]", f"must not be {name!r}: the gateway writes this field"
                    )
        asked = fields.get("request_headers")
        seen = _names(cls.model_fields["request_headers"].default if asked is None else asked)
        for position, name in enumerate(_names(fields.get("cache_key"))):
            if name not in seen:
                yield Problem(
                    f"cache_key[{position}]", f"must be in request_headers: the service does not see {name!r}"
                )

    def warnings(self) -> Iterable[Problem]:
        """Requests pass without a decision."""
        if self.fail_open:
            yield Problem(
                "authorize_with.fail_open", "lets every request pass while the service does not answer"
            )


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
