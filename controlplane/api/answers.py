"""Builds responses: JSON, with an entity tag for resources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, TypeAdapter
from starlette.responses import Response

from controlplane import aside
from controlplane.api.conditions import etag
from controlplane.aside import FEW


def json_answer(
    value: object, status: int = 200, *, revision: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document, with the revision of a resource as its ETag."""
    fields = {**NO_CACHE, **({"ETag": etag(revision)} if revision is not None else {}), **(headers or {})}
    return Response(_json(value), status, fields, "application/json")


async def long_answer(value: Mapping[str, object], status: int = 200) -> Response:
    """A JSON object that may list the outcome for thousands of resources: made beside the event loop then."""
    if all(not isinstance(part, list) or len(part) <= FEW for part in value.values()):
        return json_answer(value, status)
    return await aside.change(lambda: json_answer(value, status))


def model_answer(value: BaseModel | tuple[BaseModel, ...], status: int = 200) -> Response:
    """A view, or a list of views."""
    if isinstance(value, tuple):
        return models_answer(value, status)
    return Response(_ANY.dump_json(value), status, NO_CACHE, "application/json")


def models_answer(values: Iterable[BaseModel], status: int = 200) -> Response:
    """A list of views. One by one: no thread runs during a call that takes them all, nor while all are freed."""
    listed = b",".join([_ANY.dump_json(value) for value in values])
    return Response(b"[%s]" % listed, status, NO_CACHE, "application/json")


def json_text(value: object) -> bytes:
    """JSON as in answers."""
    return _json(value).encode()


def _json(value: object) -> str:
    """Lists of many are made in lots, however deep they lie, so that other threads run in between."""
    if isinstance(value, dict) and _is_long(value):
        members = ",".join(f"{_plain(name)}:{_json(part)}" for name, part in value.items())
        return f"{{{members}}}"
    if isinstance(value, list) and _is_long(value):
        lots = (value[start : start + FEW] for start in range(0, len(value), FEW))
        return f"[{','.join(map(_lot, lots))}]"
    return _plain(value)


def _lot(values: list[object]) -> str:
    return ",".join(map(_json, values)) if any(map(_is_long, values)) else _plain(values)[1:-1]


def _is_long(value: object) -> bool:
    if isinstance(value, list):
        return len(value) > FEW or any(map(_is_long, value))
    return isinstance(value, dict) and any(map(_is_long, value.values()))


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def not_modified(tag: int | str, headers: Mapping[str, str] | None = None) -> Response:
    """The client has the content with this tag already (RFC 9110 §15.4.5)."""
    return Response(status_code=304, headers={**NO_CACHE, "ETag": etag(tag), **(headers or {})})


_ANY: TypeAdapter[object] = TypeAdapter(object)
# Responses are private and may change at any time; a client may cache one and revalidate with If-None-Match.
NO_CACHE = {"Cache-Control": "private, no-cache"}
