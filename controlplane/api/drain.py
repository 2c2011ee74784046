"""Taking an instance out of the traffic without a failed request: what `headgate drain` asks for."""

from __future__ import annotations

from starlette.responses import Response

from controlplane.api import rollout
from controlplane.api.answers import json_answer
from controlplane.api.operation import Call
from controlplane.api.problems import Refused
from controlplane.fleet.waiting import Waiting


async def drain(call: Call) -> Response:
    """Marks the instance as draining; with `wait`, answers when nothing is under way there any more, or 504."""
    service, instance = call.path("service"), call.path("instance")
    if "quorum" in call.request.query_params:
        raise Refused(400, "Unknown parameter 'quorum'")
    wait = rollout.asked(call)
    revision = await call.parts.commands.drain(service, instance)
    call.record.revision = revision
    if wait is None:
        return json_answer({"revision": revision}, 202)
    waiting = Waiting(call.parts.watcher, call.parts.fleet)
    seen = await waiting.drained(service, instance, revision, wait.seconds)
    receipt = rollout.shown(seen).model_dump()
    if seen.complete:
        return json_answer(receipt)
    which = seen.problem or ", ".join(map(str, seen.stragglers[:10]))
    detail = f"Instance {service}/{instance} takes no new requests, but is not drained: {which}"
    raise Refused(504, detail, more=receipt)
