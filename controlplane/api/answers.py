"""Builds responses: JSON, with an entity tag for resources."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, TypeAdapter
from starlette.responses import Response

from controlplane.api.conditions import etag


def json_answer(
    value: object, status: int = 200, *, revision: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document, with the revision of a resource as its ETag."""
    fields = {**_NO_CACHE, **({"ETag": etag(revision)} if revision is not None else {}), **(headers or {})}
    return Response(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")), status, fields, "application/json"
    )


def model_answer(value: BaseModel | tuple[BaseModel, ...], status: int = 200) -> Response:
    """A view, or a list of views."""
    return Response(_ANY.dump_json(value), status, _NO_CACHE, "application/json")


def not_modified(revision: int) -> Response:
    """The client has this revision already (RFC 9110 §15.4.5)."""
    return Response(status_code=304, headers={**_NO_CACHE, "ETag": etag(revision)})


_ANY: TypeAdapter[object] = TypeAdapter(object)
# Responses are private and may change at any time; a client may cache one and revalidate with If-None-Match.
_NO_CACHE = {"Cache-Control": "private, no-cache"}
