"""How each data plane judges an instance, and how it judged it before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from starlette.responses import Response

from controlplane.api.answers import NO_CACHE, json_answer
from controlplane.api.operation import ROOT, Answer, Call, Operation, get
from controlplane.api.problems import HttpError
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.services import JudgeShape, VerdictShape, VerdictsShape
from controlplane.events.judgements import Judgement
from controlplane.fleet.views import Ballot

MOST_JUDGES: Final = 200
"""Data planes that are named."""


async def verdicts(call: Call) -> Response:
    """The votes now, and the changes of the last time."""
    service, instance = name = call.path("service"), call.path("instance")
    view = call.parts.fleet.views.service(call.parts.snapshot(), service)
    present = {one.instance.instance_id: one for one in view.instances} if view is not None else {}
    history = call.parts.observer.services.judgements.of(name)
    if instance not in present and not history:
        raise HttpError(404, f"Instance {service[:80]}/{instance[:80]} does not exist")
    ballot = call.parts.fleet.views.ballot(name)
    shape = VerdictsShape(
        service_name=service,
        instance_id=instance,
        status=present[instance].status.value if instance in present else None,
        reason=present[instance].reason if instance in present else "",
        healthy=len(ballot.healthy),
        unhealthy=len(ballot.unhealthy),
        starting=len(ballot.starting),
        judges=_judges(ballot, history),
        verdicts=[_verdict(one) for one in reversed(history)],
        noted_since=moment(call.parts.events.began),
    )
    return json_answer(shape.model_dump(mode="json"), headers=NO_CACHE)


def _judges(ballot: Ballot, history: Sequence[Judgement]) -> list[JudgeShape]:
    """Those that find it unhealthy first."""
    last = {one.dataplane: one.at for one in history}
    votes = (("unhealthy", ballot.unhealthy), ("starting", ballot.starting), ("healthy", ballot.healthy))
    named = [(node, status) for status, nodes in votes for node in nodes]
    return [
        JudgeShape(dataplane=node, status=status, since=moment(last.get(node, 0.0)))  # type: ignore[arg-type]
        for node, status in named[:MOST_JUDGES]
    ]


def _verdict(one: Judgement) -> VerdictShape:
    return VerdictShape(
        at=moment(one.at),
        dataplane=one.dataplane or None,
        status=one.status,  # type: ignore[arg-type]
        previous=one.previous or None,
        reason=one.reason,
        healthy=one.healthy,
        unhealthy=one.unhealthy,
    )


def operations() -> Iterator[Operation]:
    """The operation that the handler above answers."""
    yield get(
        f"{ROOT}/services/{{service}}/instances/{{instance}}/verdicts",
        verdicts,
        "getVerdicts",
        "How each data plane judges an instance, and how that changed",
        Answer(200, "The votes now, and the last changes, the newest first", VerdictsShape),
        refusals=(404,),
    )
