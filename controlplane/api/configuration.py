"""Create, read, update, delete: every kind of resource by its name, with ETag and conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response

from controlplane import aside
from controlplane.api import body, conditions, rollout
from controlplane.api.answers import json_answer, long_answer, not_modified
from controlplane.api.operation import (
    ADMIN,
    DRY_RUN,
    ROOT,
    Answer,
    Body,
    Call,
    Handler,
    Operation,
    Parameter,
    get,
    many,
)
from controlplane.api.problems import HttpError
from controlplane.aside import FEW
from controlplane.commands.errors import AlreadyExists, NotFound, Receipt
from controlplane.model import stored
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import Resource, documents
from controlplane.model.stored import Stamped

UNFINISHED = (
    "The change is decided at this revision, and the store (etcd) failed before all of it was in place. It is "
    "completed as soon as the store answers; do not repeat it."
)

_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


_IF_MATCH = Parameter("If-Match", "Only if the resource has this ETag; * for any.", "header")
_IF_NONE_MATCH = Parameter("If-None-Match", "Only if the ETag is another.", "header")
_ONLY_NEW = Parameter("If-None-Match", "* : only if there is no such resource yet.", "header")

_NEVER = -1
"""A revision that no resource has, so that the condition on it fails in the transaction, with its own message."""


def list_all(kind: str) -> Handler:
    """Answers every resource of a kind, sorted by name."""

    async def handle(call: Call) -> Response:
        found = await call.parts.commands.list(kind)
        if len(found) <= FEW:
            return json_answer([stored.shown(stamped.resource) for stamped in found])
        return await call.parts.commands.reads.run(
            lambda: json_answer([stored.shown(stamped.resource) for stamped in found])
        )

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
            raise HttpError(409, str(error)) from None
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
        raise HttpError(400, "On a change, If-None-Match can only be *")
    return condition is not None


def _one(stamped: Stamped, status: int = 200, location: str | None = None) -> Response:
    headers = {"Location": location} if location else {}
    return json_answer(stored.shown(stamped.resource), status, revision=stamped.revision, headers=headers)


async def apply(call: Call) -> Response:
    """Takes the document; `?dry_run=true` only says what it would do, `?wait=` answers when it is served."""
    dry, wait = dry_run(call), rollout.asked(call, "dry_run")
    if dry and wait:
        raise HttpError(400, "A dry run writes nothing that could be waited for")
    document = await body.document(call.request)
    receipt = await call.parts.commands.apply(document, author=call.author, dry_run=dry)
    aside.retire(*(lot for lot in document.values() if isinstance(lot, list)))
    return await receipt_answer(call, receipt, wait, dry=dry)


def dry_run(call: Call) -> bool:
    """Whether `?dry_run` is set; HttpError 400 when it is neither true nor false."""
    given = call.request.query_params.get("dry_run", "false").lower()
    if given not in _FLAGS:
        raise HttpError(400, "dry_run must be true or false")
    return _FLAGS[given]


async def receipt_answer(call: Call, receipt: Receipt, wait: rollout.Wait | None, *, dry: bool) -> Response:
    """Answer a change of many resources: the outcome for each, and who serves it if the caller waits for that."""
    call.record.revision, call.record.dry_run = receipt.revision, dry
    shown: dict[str, object] = {"revision": receipt.revision, "changes": await _changes(receipt)}
    if receipt.warnings:
        shown["warnings"] = [{"field": one.field, "detail": one.detail} for one in receipt.warnings]
    if receipt.unfinished:
        shown["unfinished"] = UNFINISHED
    if dry:
        return await long_answer(shown)
    return await rollout.finish(call, receipt.revision, shown, wait, 202 if receipt.unfinished else 200)


async def _changes(receipt: Receipt) -> list[dict[str, str]]:
    def listed() -> list[dict[str, str]]:
        return [{"action": one.action, "kind": one.kind, "name": one.name} for one in receipt.changes]

    if len(receipt.changes) <= FEW:
        return listed()
    changes = await aside.change(listed)
    aside.retire(changes, receipt.changes)
    return changes


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield Operation(
        method="POST",
        path=f"{ROOT}/apply",
        handler=apply,
        access=ADMIN,
        id="apply",
        summary="Create or update everything a document declares, or nothing of it",
        answers=rollout.RECEIPTS,
        tag="configuration",
        body=Body(_document()),
        parameters=(DRY_RUN, *rollout.PARAMETERS),
        refusals=(409, 504),
    )
    for plural, model in documents().items():
        yield from _crud(model, f"{ROOT}/config/{plural.replace('_', '-')}")
    # The plain names of those kinds that have no view of the fleet.
    for plural in ("routes", "scopes", "users", "issuers"):
        model = documents()[plural]
        yield _list(model, f"{ROOT}/{plural}", f"get{_words(plural)}")
        yield _read(model, f"{ROOT}/{plural}/{{name}}", f"get{model.__name__}")


def _crud(model: type[Resource], path: str) -> Iterator[Operation]:
    one, name, what = f"{path}/{{name}}", model.__name__, model.KIND.replace("_", " ")
    yield _list(model, path, f"listConfig{name}")
    yield Operation(
        method="POST",
        path=path,
        handler=create(model.KIND),
        access=ADMIN,
        id=f"createConfig{name}",
        summary=f"Create a {what}",
        answers=(Answer(201, "As it is stored", model, etag=True),),
        tag="configuration",
        body=Body(model),
        refusals=(409,),
    )
    yield _read(model, one, f"readConfig{name}")
    yield Operation(
        method="PUT",
        path=one,
        handler=put(model.KIND),
        access=ADMIN,
        id=f"putConfig{name}",
        summary=f"Create a {what}, or replace it as a whole",
        answers=(
            Answer(200, "Replaced, or the same already", model, etag=True),
            Answer(201, "Created", model, etag=True),
        ),
        tag="configuration",
        body=Body(model),
        parameters=(_IF_MATCH, _ONLY_NEW),
        refusals=(409, 412),
    )
    yield Operation(
        method="DELETE",
        path=one,
        handler=delete(model.KIND),
        access=ADMIN,
        id=f"deleteConfig{name}",
        summary=f"Delete a {what} that nothing needs any more",
        answers=(Answer(204, "Deleted"),),
        tag="configuration",
        parameters=(_IF_MATCH,),
        refusals=(400, 404, 409, 412),
    )


def _list(model: type[Resource], path: str, operation_id: str) -> Operation:
    return get(
        path,
        list_all(model.KIND),
        operation_id,
        f"Every {model.KIND.replace('_', ' ')}, by name",
        Answer(200, "Sorted by name", many(model)),
        tag="configuration",
    )


def _read(model: type[Resource], path: str, operation_id: str) -> Operation:
    return get(
        path,
        read(model.KIND),
        operation_id,
        f"One {model.KIND.replace('_', ' ')}",
        Answer(200, "As it is stored", model, etag=True),
        Answer(304, "The client has it already"),
        tag="configuration",
        parameters=(_IF_NONE_MATCH,),
        refusals=(404,),
    )


def _words(plural: str) -> str:
    return plural.title().replace("_", "")


def _document() -> Mapping[str, Any]:
    return {
        "type": "object",
        "description": "Resources by kind. What is left out is left alone.",
        "additionalProperties": False,
        "properties": {plural: many(model) for plural, model in documents().items()},
    }
