"""Create, read, update, delete: every kind of resource by its name, with ETag and conditions."""

from __future__ import annotations

from starlette.responses import Response

from controlplane.api import body, conditions
from controlplane.api.answers import json_answer, not_modified
from controlplane.api.operation import Call, Handler
from controlplane.api.problems import Refused
from controlplane.commands.errors import AlreadyExists, NotFound
from controlplane.model.problems import InconsistentConfig
from controlplane.model.stored import Stamped, shown

_NEVER = -1
"""A revision that no resource has, so that the condition on it fails in the transaction, with its own message."""


def list_all(kind: str) -> Handler:
    """Answers every resource of a kind, sorted by name."""

    async def handle(call: Call) -> Response:
        found = await call.parts.commands.list(kind)
        return json_answer([shown(stamped.resource) for stamped in found])

    return handle


def read(kind: str) -> Handler:
    """Answers one resource, or 304 when the client has it already."""

    async def handle(call: Call) -> Response:
        found = await call.parts.commands.get(kind, call.path("name"))
        known = call.request.headers.get("if-none-match")
        if known is not None and conditions.holds(known, found.revision, strong=False):
            return not_modified(found.revision)
        return _one(found)

    return handle


def create(kind: str) -> Handler:
    """Takes a new resource, whose name stands in the body."""

    async def handle(call: Call) -> Response:
        document = await body.document(call.request)
        try:
            written = await call.parts.commands.create(kind, document, author=call.author)
        except AlreadyExists as error:
            raise Refused(409, str(error)) from None
        call.record.revision = written.revision
        return _one(written, 201, f"{call.request.url.path}/{written.resource.name}")

    return handle


def put(kind: str) -> Handler:
    """Creates a resource or replaces it as a whole."""

    async def handle(call: Call) -> Response:
        name, document = call.path("name"), await body.document(call.request)
        only_new = _only_new(call)
        present = await _present(call, kind, name)
        written = await call.parts.commands.put(
            kind,
            document,
            name=name,
            if_match=_expected(call, present),
            if_none_match=only_new,
            author=call.author,
        )
        call.record.revision = written.revision
        return _one(written, 200 if present else 201)

    return handle


def delete(kind: str) -> Handler:
    """Removes a resource that nothing needs any more."""

    async def handle(call: Call) -> Response:
        name = call.path("name")
        expected = None
        if "if-match" in call.request.headers:
            expected = _expected(call, await _present(call, kind, name))
        call.record.revision = await call.parts.commands.delete(
            kind, name, if_match=expected, author=call.author
        )
        return Response(status_code=204)

    return handle


async def _present(call: Call, kind: str, name: str) -> int:
    """The resource's revision; 0 when it is absent, or nonsense that a PUT may replace."""
    try:
        return (await call.parts.commands.get(kind, name)).revision
    except (NotFound, InconsistentConfig):
        return 0


def _expected(call: Call, present: int) -> int | None:
    condition = call.request.headers.get("if-match")
    if condition is None:
        return None
    return present if conditions.holds(condition, present or None, strong=True) else _NEVER


def _only_new(call: Call) -> bool:
    condition = call.request.headers.get("if-none-match")
    if condition not in (None, "*"):
        raise Refused(400, "On a change, If-None-Match can only be *")
    return condition is not None


def _one(stamped: Stamped, status: int = 200, location: str | None = None) -> Response:
    headers = {"Location": location} if location else {}
    return json_answer(shown(stamped.resource), status, revision=stamped.revision, headers=headers)
