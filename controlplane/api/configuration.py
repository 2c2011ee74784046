"""Changes of many resources at once: a document is applied as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from starlette.responses import Response

from controlplane import aside
from controlplane.api import body, pruning, rollout
from controlplane.api.answers import long_answer
from controlplane.api.edits import edit_shape
from controlplane.api.operation import (
    ADMIN,
    DRY_RUN,
    FORCE,
    ROOT,
    Body,
    Call,
    Operation,
    flag,
    many,
)
from controlplane.aside import FEW
from controlplane.commands.errors import Receipt
from controlplane.commands.plans.pruning import MOST_SPARED
from controlplane.fleet.redis_warnings import without_redis
from controlplane.model.document import MOST_WARNINGS
from controlplane.model.resources import documents

UNFINISHED = (
    "The change is decided at this revision, but the store (etcd) failed before all of it was written. The control "
    "plane completes it as soon as the store answers; do not repeat it."
)


async def apply(call: Call) -> Response:
    """Apply a document; `?dry_run=true` only reports the changes, `?wait=` answers when they are served."""
    wait, dry = rollout.asked_or_dry(call, *pruning.NAMES)
    prune, plan, force = pruning.asked(call), pruning.plan(call), flag(call, "force")
    document = await body.document(call.request)
    receipt = await call.parts.commands.apply(
        document, author=call.author, force=force, dry_run=dry, prune=prune, plan=plan
    )
    receipt = _with_warnings(receipt, document, call)
    aside.retire(*(lot for lot in document.values() if isinstance(lot, list)))
    return await receipt_answer(call, receipt, wait, dry=dry)


def _with_warnings(receipt: Receipt, document: Mapping[str, object], call: Call) -> Receipt:
    """Warnings that depend on the data planes, and on the resources that were there before."""
    above = call.parts.too_many_routes
    found = chain((above,) if above else (), without_redis(document, call.parts.fleet.nodes.values()))
    rest = islice(found, max(0, MOST_WARNINGS - len(receipt.warnings)))
    return replace(receipt, warnings=(*receipt.warnings, *rest))


async def receipt_answer(call: Call, receipt: Receipt, wait: rollout.Wait | None, *, dry: bool) -> Response:
    """Answer a change of many resources: the outcome for each, and the rollout if the caller waits for it."""
    call.record.revision, call.record.dry_run = receipt.revision, dry
    shown: dict[str, object] = {"revision": receipt.revision, "changes": await _changes(receipt)}
    if receipt.spared:
        listed = receipt.spared[:MOST_SPARED]
        shown["kept"] = [{"kind": one.kind, "name": one.name, "reason": one.reason} for one in listed]
    if receipt.plan:
        shown["plan"] = receipt.plan
    if receipt.warnings:
        shown["warnings"] = [{"field": one.field, "detail": one.detail} for one in receipt.warnings]
    if receipt.unfinished:
        shown["unfinished"] = UNFINISHED
    if dry:
        edits = [edit_shape(one).model_dump(mode="json") for one in receipt.edits]
        return await long_answer({**shown, **({"edits": edits} if edits else {})})
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
        summary="Create or update all resources of a document, or none of them; prune deletes others",
        answers=rollout.RECEIPTS,
        tag="configuration",
        body=Body(_document(), example=_example()),
        parameters=(DRY_RUN, FORCE, *pruning.PARAMETERS, *rollout.PARAMETERS),
        refusals=(409, 412, 504),
    )


def _example() -> Mapping[str, Any]:
    return {plural: [dict(model.EXAMPLE)] for plural, model in documents().items() if model.EXAMPLE}


def _document() -> Mapping[str, Any]:
    return {
        "type": "object",
        "description": "Resources by kind. Resources that are left out do not change, unless prune deletes them.",
        "additionalProperties": False,
        "properties": {plural: many(model) for plural, model in documents().items()},
    }
