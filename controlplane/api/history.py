"""The history of the configuration: changes on record, the difference between revisions, and rollback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from starlette.responses import Response

from controlplane.api import body, rollout, selection
from controlplane.api.answers import json_answer, models_answer
from controlplane.api.configuration import receipt_answer
from controlplane.api.edits import edit_shape
from controlplane.api.numbers import MOST_REVISION, whole
from controlplane.api.operation import (
    ADMIN,
    DRY_RUN,
    FORCE,
    ROOT,
    Answer,
    Body,
    Call,
    Operation,
    Parameter,
    flag,
    get,
    many,
)
from controlplane.api.problems import HttpError
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.changes import ChangeRecordShape, EditShape, RecordShape, RollbackShape
from controlplane.model.history import MOST_RECORDS, Record
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import ResourceId

USUAL = 50
"""Changes that are listed unless another number is asked for."""

PARAMETERS = (
    Parameter(
        "limit",
        "The largest number of changes to return.",
        schema={"type": "integer", "minimum": 1, "maximum": MOST_RECORDS, "default": USUAL},
    ),
    Parameter("before", "Only changes with a lower revision, for the next page.", schema={"type": "integer"}),
    Parameter(
        "resource",
        "Only changes of this resource: KIND/NAME. If given several times, of any of them.",
        schema={"type": "array", "maxItems": 20, "items": {"type": "string", "minLength": 1}},
    ),
)
MOST_ASKED = 20
BETWEEN = (
    Parameter("from", "The older revision; required.", schema={"type": "integer", "minimum": 1}),
    Parameter(
        "to", "The newer revision; by default the current one.", schema={"type": "integer", "minimum": 1}
    ),
)


async def changes(call: Call) -> Response:
    """The changes on record, the newest first."""
    _only(call, "limit", "before", "resource")
    limit = _number(call, "limit") or USUAL
    if limit > MOST_RECORDS:
        raise HttpError(400, f"limit must be 1 to {MOST_RECORDS}")
    before, touching = _number(call, "before"), _touching(call)

    def page(found: Sequence[Record]) -> Response:
        records = (record for record in found if before is None or record.revision < before)
        if touching:
            records = (one for one in records if any(changed[1:] in touching for changed in one.actions))
        return json_answer(list(map(_shown, islice(records, limit))))

    return await call.parts.commands.changes(page)


def _touching(call: Call) -> frozenset[ResourceId]:
    named = call.request.query_params.getlist("resource")
    if len(named) > MOST_ASKED:
        raise HttpError(400, f"At most {MOST_ASKED} resources can be asked for at once")
    return frozenset(map(selection.resource_id, named))


async def change(call: Call) -> Response:
    """One change with everything it changed."""
    return await call.parts.commands.change(rollout.revision(call.path("revision")), _whole)


def _whole(record: Record) -> Response:
    """A change with its edits: as `model_answer` would give it, edit by edit."""
    edits = [edit_shape(one).model_dump(mode="json") for one in record.edits]
    return json_answer({**_shown(record), "edits": edits})


async def diff(call: Call) -> Response:
    """The differences between two revisions."""
    _only(call, "from", "to")
    old, new = _number(call, "from"), _number(call, "to")
    if old is None:
        raise HttpError(400, "from is required: the older revision to compare")
    return await call.parts.commands.compare(old, new, lambda edits: models_answer(map(edit_shape, edits)))


async def rollback(call: Call) -> Response:
    """Rolls the configuration back to an earlier revision."""
    dry, wait = flag(call, "dry_run"), rollout.asked(call, "dry_run", "force")
    force = flag(call, "force")
    document = await body.document(call.request)
    if unknown := sorted(set(document) - {"to", "dry_run", "users"}):
        raise InvalidConfig([Problem(unknown[0], "unknown field")])
    to, in_body = document.get("to"), document.get("dry_run", False)
    if not isinstance(to, int) or isinstance(to, bool) or not 0 < to < 2**63:
        raise InvalidConfig([Problem("to", "must be a revision")])
    users = document.get("users", False)
    for name, value in (("dry_run", in_body), ("users", users)):
        if not isinstance(value, bool):
            raise InvalidConfig([Problem(name, "must be true or false")])
    dry = dry or bool(in_body)
    if dry and wait:
        raise HttpError(400, "A dry run writes nothing: leave out wait")
    receipt = await call.parts.commands.rollback(
        to, author=call.author, users=bool(users), force=force, dry_run=dry
    )
    return await receipt_answer(call, receipt, wait, dry=dry)


def _number(call: Call, name: str) -> int | None:
    text = call.request.query_params.get(name)
    if text is None:
        return None
    if (number := whole(text, MOST_REVISION)) is None:
        raise HttpError(400, f"{name} must be a number from 1")
    return number


def _only(call: Call, *known: str) -> None:
    if unknown := sorted(set(call.request.query_params) - set(known)):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")


def _shown(record: Record) -> dict[str, object]:
    """A change as `ChangeRecordShape` says. Its list of resources is left out of the model: no other thread runs while
    pydantic checks and dumps thousands of entries in one call."""
    head = ChangeRecordShape(
        revision=record.revision,
        author=record.author,
        time=moment(record.time),
        summary=record.summary,
        changes=[],
        whole=record.whole,
    )
    changes = [{"action": action, "kind": kind, "name": name} for action, kind, name in record.actions]
    return {**head.model_dump(mode="json"), "changes": changes}


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/history",
        changes,
        "getHistory",
        "The recorded changes of the configuration",
        Answer(200, "Sorted by revision, the newest first", many(ChangeRecordShape)),
        tag="configuration",
        parameters=PARAMETERS,
        refusals=(400,),
    )
    yield get(
        f"{ROOT}/history/{{revision}}",
        change,
        "getChange",
        "One change with the resources before and after",
        Answer(200, "The change", RecordShape),
        tag="configuration",
        refusals=(404,),
    )
    yield get(
        f"{ROOT}/diff",
        diff,
        "getDiff",
        "The differences between the configurations at two revisions",
        Answer(200, "Sorted by kind and name", many(EditShape)),
        tag="configuration",
        parameters=BETWEEN,
        refusals=(400, 404),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/rollback",
        handler=rollback,
        access=ADMIN,
        id="rollback",
        summary="Restore the configuration of an earlier revision, as a new change",
        answers=rollout.RECEIPTS,
        tag="configuration",
        body=Body(RollbackShape, example={"to": 42, "dry_run": True}),
        parameters=(DRY_RUN, FORCE, *rollout.PARAMETERS),
        refusals=(404, 409, 504),
    )
