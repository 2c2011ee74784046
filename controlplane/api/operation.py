"""One operation of the admin API: its request, access, answers and handler.

The same value makes the route, guards it and describes it in OpenAPI, so that the three cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from controlplane.api.parts import Parts
from controlplane.api.problems import HttpError
from controlplane.api.recorder import RequestRecord, record_of

Access = Literal["public", "gateway:read", "gateway:admin", "gateway:tap"]
READ: Final = "gateway:read"
ADMIN: Final = "gateway:admin"
"""Implies gateway:read."""
TAP: Final = "gateway:tap"
"""Nothing implies it: it shows requests of other people."""

ROOT: Final = "/api/v1"

Schema = type[BaseModel] | Mapping[str, Any]
"""A pydantic model, a list of one (`many`), or JSON schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an operation, after authorization."""

    parts: Parts
    request: Request
    author: str

    @property
    def record(self) -> RequestRecord:
        """The log record of the request."""
        return record_of(self.request.scope)

    def path(self, name: str) -> str:
        """A parameter within the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of an operation."""

    status: int
    description: str
    schema: Schema | None = None
    media_type: str = "application/json"
    etag: bool = False
    location: bool = False
    """Whether the response has the Location of the new resource."""
    link: bool = False
    """Whether a Link may lead to the next page."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request, in any of these media types."""

    schema: Schema
    media_types: tuple[str, ...] = ("application/json", "application/yaml")
    example: Mapping[str, Any] | None = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter beside those in the path."""

    name: str
    description: str
    place: Literal["query", "header"] = "query"
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


def flag(call: Call, name: str) -> bool:
    """Whether `?name` is set; HttpError 400 when it is neither true nor false."""
    given = call.request.query_params.get(name, "false").lower()
    if given not in _FLAGS:
        raise HttpError(400, f"{name} must be true or false")
    return _FLAGS[given]


DRY_RUN = Parameter(
    "dry_run", "Report what would change, and write nothing.", schema={"type": "boolean", "default": False}
)

IF_NONE_MATCH = Parameter("If-None-Match", "Only if the content has another ETag.", "header")
FORCE = Parameter(
    "force",
    "Also make a change that defeats a built-in resource. Without it, the refusal names the consequence.",
    schema={"type": "boolean", "default": False},
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path."""

    method: str
    path: str
    """As Starlette writes it; `{name:path}` also takes slashes."""
    handler: Handler
    access: Access
    id: str
    """Unique; the operationId of OpenAPI."""
    summary: str
    answers: tuple[Answer, ...]
    tag: str
    body: Body | None = None
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[int, ...] = ()
    """Statuses of refusals, beside those that follow from access and body."""
    refusal: Schema | None = None
    """Shape of refusals; None for problem details."""


def many(model: type[BaseModel]) -> Mapping[str, Any]:
    """The schema of a list of these; `openapi` puts the model's own schema in its place."""
    return {"type": "array", "items": model}


def get(
    path: str,
    handler: Handler,
    operation_id: str,
    summary: str,
    *answers: Answer,
    access: Access = READ,
    tag: str = "fleet",
    parameters: tuple[Parameter, ...] = (),
    refusals: tuple[int, ...] = (),
) -> Operation:
    """An operation that answers a GET, mostly about the fleet."""
    return Operation(
        "GET", path, handler, access, operation_id, summary, answers, tag, None, parameters, refusals
    )
