"""A whole document at once: everything it declares is created or updated in one transaction, or nothing is."""

from __future__ import annotations

from starlette.responses import Response

from controlplane.api import body, rollout
from controlplane.api.answers import json_answer
from controlplane.api.operation import Call
from controlplane.api.problems import Refused
from controlplane.commands.errors import Receipt

UNFINISHED = (
    "The change is decided at this revision, and the store (etcd) failed before all of it was in place. It is "
    "completed as soon as the store answers; do not repeat it."
)

_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


async def apply(call: Call) -> Response:
    """Takes the document; `?dry_run=true` only says what it would do, `?wait=` answers when it is served."""
    dry, wait = dry_run(call), rollout.asked(call, "dry_run")
    if dry and wait:
        raise Refused(400, "A dry run writes nothing that could be waited for")
    document = await body.document(call.request)
    receipt = await call.parts.commands.apply(document, author=call.author, dry_run=dry)
    call.record.revision = receipt.revision
    call.record.dry_run = dry
    if dry:
        return json_answer(shown(receipt))
    return await rollout.finish(
        call, receipt.revision, shown(receipt), wait, 202 if receipt.unfinished else 200
    )


def dry_run(call: Call) -> bool:
    """Whether `?dry_run` is set; Refused 400 when it is neither true nor false."""
    given = call.request.query_params.get("dry_run", "false").lower()
    if given not in _FLAGS:
        raise Refused(400, "dry_run must be true or false")
    return _FLAGS[given]


def shown(receipt: Receipt) -> dict[str, object]:
    """A receipt as programs read it."""
    changes = [{"action": c.action, "kind": c.kind, "name": c.name} for c in receipt.changes]
    return {
        "revision": receipt.revision,
        "changes": changes,
        **({"unfinished": UNFINISHED} if receipt.unfinished else {}),
    }
