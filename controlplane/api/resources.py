"""Create, read, update, delete: every kind of resource by its name, with ETag and conditions.

A kind is under /api/v1/<kind>, with `status` beside its fields. /api/v1/config/<kind> has the fields alone. Rate limits
are under /api/v1/config alone: /api/v1/rate-limits shows the buckets in use, and DELETE there refills the buckets of a
key.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api import body, conditions, rollout, selection
from controlplane.api.answers import json_answer, not_modified
from controlplane.api.forms import Form, WithStatus
from controlplane.api.operation import (
    ADMIN,
    DRY_RUN,
    FORCE,
    IF_NONE_MATCH,
    ROOT,
    Answer,
    Body,
    Call,
    Handler,
    Operation,
    Parameter,
    flag,
    get,
    many,
)
from controlplane.api.problems import HttpError
from controlplane.api.services import ServiceForm
from controlplane.commands.errors import AlreadyExists, NotFound
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import RateLimit, Service, documents
from controlplane.model.stored import Stamped

_IF_MATCH = Parameter("If-Match", "Only if the resource has this ETag; * for any.", "header")
_ONLY_NEW = Parameter("If-None-Match", "*: only if the resource does not exist yet.", "header")
_DELETE_BUILT_IN = Parameter(
    "force",
    "Also delete a built-in resource. Without it, the refusal names the consequence.",
    schema={"type": "boolean", "default": False},
)

_DRY = Parameter(
    "dry_run",
    "Check it, and answer the resource as it would be; write nothing. Without an ETag in the answer, it would change.",
    schema={"type": "boolean", "default": False},
)

_NEVER = -1
"""A revision that no resource has, so that the condition on it fails in the transaction, with its own message."""


def list_all(form: Form) -> Handler:
    """Answers the selected resources of a kind, sorted by name."""

    async def handle(call: Call) -> Response:
        chosen, found = selection.asked(call), await form.list(call)
        tag = call.parts.list_tags.of(found) if form.revalidates else ""
        if tag and conditions.is_known(call.request.headers, tag):
            return not_modified(tag)
        page, last = chosen.page(await selection.narrowed(call, chosen, found))
        show, tagged = await form.show(call), {"ETag": conditions.etag(tag)} if tag else {}

        def answer() -> Response:
            return json_answer(list(map(show, page)), headers={**tagged, **selection.link(call, last)})

        return answer() if len(page) <= form.few else await call.parts.commands.reads.run(answer)

    return handle


def read(form: Form, named: str) -> Handler:
    """Answers one resource, or 304 when the client has it already."""

    async def handle(call: Call) -> Response:
        found = await form.get(call, call.path(named))
        if form.revalidates and conditions.is_known(call.request.headers, found.revision):
            return not_modified(found.revision)
        return await _one(call, form, found)

    return handle


def create(form: Form) -> Handler:
    """Creates a resource, whose name is in the body."""

    async def handle(call: Call) -> Response:
        document = form.whole(await body.document(call.request))
        try:
            written = await call.parts.commands.create(form.kind, document, author=call.author)
        except AlreadyExists as error:
            raise HttpError(409, str(error)) from None
        call.record.revision = written.revision
        return await _one(call, form, written, 201, f"{call.request.url.path}/{written.resource.name}")

    return handle


def put(form: Form, named: str) -> Handler:
    """Creates a resource or replaces it as a whole."""

    async def handle(call: Call) -> Response:
        name, document = call.path(named), form.whole(await body.document(call.request))
        only_new, force, (wait, dry) = _only_new(call), flag(call, "force"), rollout.asked_or_dry(call)
        present = await _present(call, form.kind, name)
        written = await call.parts.commands.put(
            form.kind,
            document,
            name=name,
            if_match=_expected(call, present),
            if_none_match=only_new,
            force=force,
            dry_run=dry,
            author=call.author,
        )
        await _written(call, written, wait, dry=dry)
        return await _one(call, form, written, 200 if present or dry else 201)

    return handle


def patch(form: Form, named: str) -> Handler:
    """Changes some fields of a resource (RFC 7396)."""

    async def handle(call: Call) -> Response:
        name, document = call.path(named), await body.merge_patch(call.request)
        force, (wait, dry) = flag(call, "force"), rollout.asked_or_dry(call)
        written = await call.parts.commands.patch(
            form.kind,
            name,
            form.taken(document),
            if_match=await _expected_of_present(call, form.kind, name),
            force=force,
            dry_run=dry,
            author=call.author,
        )
        await _written(call, written, wait, dry=dry)
        return await _one(call, form, written)

    return handle


def delete(form: Form, named: str) -> Handler:
    """Removes a resource that nothing needs any more; `?dry_run=true` only answers whether that is possible."""

    async def handle(call: Call) -> Response:
        name, force, dry = call.path(named), flag(call, "force"), flag(call, "dry_run")
        expected = await _expected_of_present(call, form.kind, name)
        revision = await call.parts.commands.delete(
            form.kind, name, if_match=expected, force=force, dry_run=dry, author=call.author
        )
        call.record.revision, call.record.dry_run = revision, dry
        if not dry:
            await form.settle(call, revision)
        return Response(status_code=204)

    return handle


async def _written(call: Call, written: Stamped, wait: rollout.Wait | None, *, dry: bool) -> None:
    """Note the outcome for the log, and wait for the data planes if that was asked for."""
    call.record.revision, call.record.dry_run = written.revision, dry
    await rollout.await_served(call, written.revision, wait)


async def _present(call: Call, kind: str, name: str) -> int:
    """The resource's revision; 0 when it is absent, or cannot be read, so that a PUT may replace it."""
    try:
        return (await call.parts.commands.get(kind, name)).revision
    except (NotFound, InconsistentConfig):
        return 0


async def _expected_of_present(call: Call, kind: str, name: str) -> int | None:
    """The revision that a change of an existing resource expects; with `If-None-Match: *` there is none."""
    if _only_new(call):
        return _NEVER
    return _expected(call, await _present(call, kind, name)) if "if-match" in call.request.headers else None


def _expected(call: Call, present: int) -> int | None:
    condition = conditions.given(call.request.headers, "if-match")
    if condition is None:
        return None
    return present if conditions.holds(condition, present or None, strong=True) else _NEVER


def _only_new(call: Call) -> bool:
    condition = conditions.given(call.request.headers, "if-none-match")
    if condition not in (None, "*"):
        raise HttpError(400, "On a change, If-None-Match can only be *")
    return condition is not None


async def _one(
    call: Call, form: Form, stamped: Stamped, status: int = 200, location: str | None = None
) -> Response:
    if call.request.method not in ("GET", "HEAD"):
        await form.settle(call, stamped.revision)
    headers = {"Location": location} if location else {}
    # The resource of a dry run that found a change has no revision yet.
    revision = stamped.revision or None
    return json_answer((await form.show(call))(stamped), status, revision=revision, headers=headers)


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    for plural, model in documents().items():
        spelled, name = plural.replace("_", "-"), model.__name__
        yield from _crud(
            Form(model), f"{ROOT}/config/{spelled}", "name", f"Config{name}", f"listConfig{name}"
        )
        form = ServiceForm() if model is Service else WithStatus(model)
        words = plural.title().replace("_", "")
        if model is not RateLimit:
            yield from _crud(form, f"{ROOT}/{spelled}", "name", name, f"get{words}")


def _crud(form: Form, path: str, named: str, name: str, list_id: str) -> Iterator[Operation]:
    one, what = f"{path}/{{{named}}}", form.kind.replace("_", " ")
    # The one kind that begins with u is the user.
    a_what, plain = f"{'an' if what[0] in 'aeio' else 'a'} {what}", type(form) is Form
    revalidated = (Answer(304, "The client's copy is current"),) if plain else ()
    yield get(
        path,
        list_all(form),
        list_id,
        f"All resources of kind {form.kind}",
        Answer(200, "Sorted by name", many(form.schema), etag=plain, link=True),
        *revalidated,
        tag="configuration",
        parameters=(*selection.PARAMETERS, *((IF_NONE_MATCH,) if plain else ())),
        refusals=(400,),
    )
    yield Operation(
        method="POST",
        path=path,
        handler=create(form),
        access=ADMIN,
        id=f"create{name}",
        summary=f"Create {a_what}",
        answers=(Answer(201, "The stored resource", form.schema, etag=True, location=True),),
        tag="configuration",
        body=Body(form.model, example=form.model.EXAMPLE),
        refusals=(409,),
    )
    yield get(
        one,
        read(form, named),
        f"readConfig{name.removeprefix('Config')}" if plain else f"get{name}",
        f"One {what}",
        Answer(200, "The stored resource", form.schema, etag=True),
        *revalidated,
        tag="configuration",
        parameters=(IF_NONE_MATCH,) if plain else (),
        refusals=(400, 404) if plain else (404,),
    )
    yield Operation(
        method="PUT",
        path=one,
        handler=put(form, named),
        access=ADMIN,
        id=f"put{name}",
        summary=f"Create {a_what}, or replace it as a whole",
        answers=(
            Answer(200, "Replaced, or unchanged", form.schema, etag=True),
            Answer(201, "Created", form.schema, etag=True),
        ),
        tag="configuration",
        body=Body(form.model, example=form.model.EXAMPLE),
        parameters=(_IF_MATCH, _ONLY_NEW, FORCE, _DRY, *rollout.PARAMETERS),
        refusals=(409, 412, 504),
    )
    yield Operation(
        method="PATCH",
        path=one,
        handler=patch(form, named),
        access=ADMIN,
        id=f"patch{name}",
        summary=f"Change some fields of {a_what} (RFC 7396)",
        answers=(Answer(200, "The stored resource", form.schema, etag=True),),
        tag="configuration",
        body=Body(
            {"type": "object", "description": "The fields to change; null restores the default."},
            body.PATCH_TYPES,
            example={"labels": {"team": "shop"}},
        ),
        parameters=(_IF_MATCH, FORCE, _DRY, *rollout.PARAMETERS),
        refusals=(404, 409, 412, 504),
    )
    yield Operation(
        method="DELETE",
        path=one,
        handler=delete(form, named),
        access=ADMIN,
        id=f"delete{name}",
        summary=f"Delete {a_what} that no other resource needs",
        answers=(Answer(204, "Deleted, or in a dry run: it could be"),),
        tag="configuration",
        parameters=(_IF_MATCH, _DELETE_BUILT_IN, DRY_RUN),
        refusals=(400, 404, 409, 412),
    )
