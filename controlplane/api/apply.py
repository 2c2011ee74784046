"""A whole document at once: everything it declares is created or updated in one transaction, or nothing is."""

from __future__ import annotations

from starlette.responses import Response

from controlplane.api import body
from controlplane.api.answers import json_answer
from controlplane.api.operation import Call
from controlplane.api.problems import Refused
from controlplane.commands import Receipt

_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


async def apply(call: Call) -> Response:
    """Takes the document; `?dry_run=true` only says what it would do."""
    dry_run = _dry_run(call)
    document = await body.document(call.request)
    receipt = await call.parts.commands.apply(document, author=call.author, dry_run=dry_run)
    call.record.revision = receipt.revision
    call.record.dry_run = dry_run
    return json_answer(_shown(receipt))


def _dry_run(call: Call) -> bool:
    query = call.request.query_params
    if "wait" in query:
        raise Refused(400, "wait is not built yet: ask /api/v1/dataplanes for the applied revision")
    if unknown := sorted(set(query) - {"dry_run"}):
        raise Refused(400, f"Unknown parameter {unknown[0]!r}")
    given = query.get("dry_run", "false").lower()
    if given not in _FLAGS:
        raise Refused(400, "dry_run must be true or false")
    return _FLAGS[given]


def _shown(receipt: Receipt) -> dict[str, object]:
    changes = [{"action": c.action, "kind": c.kind, "name": c.name} for c in receipt.changes]
    return {"revision": receipt.revision, "changes": changes}
