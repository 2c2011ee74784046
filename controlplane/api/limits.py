"""The rate limits as they are counted now: buckets, the bound in force, and resets of the buckets of a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.responses import Response

from controlplane.api import rollout
from controlplane.api.answers import json_answer, models_answer
from controlplane.api.numbers import whole
from controlplane.api.operation import ADMIN, ROOT, Answer, Call, Operation, Parameter, get, many
from controlplane.api.problems import HttpError
from controlplane.api.shapes.limits import (
    BoundShape,
    BucketShape,
    NodeBucketShape,
    RateLimitShape,
    ResetShape,
)
from controlplane.fleet import limit_views
from controlplane.fleet.limit_resets import RESET_WITHIN, reset_view
from controlplane.fleet.limit_views import MOST, USUAL, Bound, BucketView, Choice, LimitView
from controlplane.fleet.reports import RateLimitReport
from controlplane.model.resources import RateLimit

Reports = Mapping[str, Sequence[RateLimitReport]]

FEW = 2000
"""Reported buckets that are put together on the event loop: some milliseconds' work."""

PARAMETERS = (
    Parameter("limit", "Only the limit of this name."),
    Parameter("key", "Only buckets of this key, as the response shows it, or of this value of a key."),
    Parameter("node", "Only the buckets of this data plane."),
    Parameter(
        "most",
        "The largest number of buckets to return, for all limits together.",
        schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
    ),
)


async def rate_limits(call: Call) -> Response:
    """Every limit with the buckets in use."""
    choice = _choice(call)
    call.parts.fleet.look()
    limits, reports = call.parts.snapshot().of(RateLimit), call.parts.fleet.views.buckets()
    _require_known(choice, limits, reports)
    desk = call.parts.desk
    owner = desk.owner if desk is not None else _nobody

    def answer() -> Response:
        return models_answer(map(_limit, limit_views.rate_limits(limits, reports, owner, choice)))

    if len(limits) + sum(map(len, reports.values())) <= FEW:
        return answer()
    return await call.parts.commands.reads.run(answer)


async def reset_rate_limit(call: Call) -> Response:
    """Order every data plane to refill the buckets of a key, and report how many there were."""
    if "quorum" in call.request.query_params:
        raise HttpError(400, "Unknown parameter 'quorum'")
    key, wait = call.path("key"), rollout.asked(call)
    revision = await call.parts.commands.reset_rate_limit(key)
    call.record.revision = revision
    seconds = RESET_WITHIN if wait is None else wait.seconds
    await call.parts.waiting.obeyed(revision, seconds)
    seen = reset_view(revision, call.parts.fleet.views.dataplanes())
    receipt = ResetShape(
        revision=revision,
        key=key,
        buckets=seen.buckets,
        limits=dict(seen.limits),
        dataplanes=dict(seen.dataplanes),
        unreached=list(seen.unreached),
        waiting=list(seen.waiting),
        unreported=list(seen.unreported),
    ).model_dump()
    if seen.found_none:
        detail = f"No bucket of any limit has the key {key!r}; GET {ROOT}/rate-limits lists the keys in use"
        raise HttpError(404, detail, more=receipt)
    return json_answer(receipt, 200 if seen.complete else 202)


def _choice(call: Call) -> Choice:
    """The filter in the query. HttpError 400."""
    query = call.request.query_params
    if unknown := sorted(set(query) - {one.name for one in PARAMETERS}):
        raise HttpError(400, f"Unknown parameter {unknown[0]!r}")
    most = whole(query.get("most", str(USUAL)), MOST)
    if most is None:
        raise HttpError(400, f"most must be 1 to {MOST}")
    return Choice(query.get("limit"), query.get("key"), query.get("node"), most)


def _require_known(choice: Choice, limits: Mapping[str, RateLimit], reports: Reports) -> None:
    """HttpError 404 for a limit or a data plane that does not exist."""
    if choice.node is not None and choice.node not in reports:
        raise HttpError(404, f"data plane {choice.node!r} is not connected")
    if choice.limit is None or choice.limit in limits:
        return
    if not any(one.name == choice.limit for each in reports.values() for one in each):
        raise HttpError(404, f"rate limit {choice.limit!r} does not exist")


def _limit(view: LimitView) -> RateLimitShape:
    shown = RateLimitShape(
        name=view.name,
        mode=view.mode or None,
        owner=view.owner or None,
        refused=view.refused,
        more=view.more,
        buckets=[_bucket(one) for one in view.buckets],
    )
    limit, bound = view.limit, view.bound
    if limit is None or bound is None:
        return shown
    return shown.model_copy(
        update={
            "per_second": limit.rate or None,
            "burst": limit.tokens or None,
            "max_concurrent": limit.max_concurrent,
            "key": ",".join(limit.keys),
            "enforce": limit.enforce,
            "bound": _bound(bound),
        }
    )


def _bound(bound: Bound) -> BoundShape:
    return BoundShape(
        burst=bound.burst,
        per_second=bound.per_second,
        under_way=bound.under_way,
        over="fleet" if bound.whole_fleet else "dataplane",
        holds=bound.holds,
        reason=bound.reason,
    )


def _bucket(view: BucketView) -> BucketShape:
    nodes = {
        node: NodeBucketShape(
            remaining=one.remaining, refused=one.refused, counted=one.place.value, away=one.away
        )
        for node, one in view.dataplanes.items()
    }
    return BucketShape(key=view.key, remaining=view.remaining, refused=view.refused, dataplanes=nodes)


def _nobody(name: str) -> str:
    return ""


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/rate-limits",
        rate_limits,
        "getRateLimits",
        "All rate limits, each with its bound in force and the buckets in use",
        Answer(200, "Sorted by refused requests, the most first, then by name", many(RateLimitShape)),
        parameters=PARAMETERS,
        refusals=(400, 404),
    )
    yield Operation(
        method="DELETE",
        path=f"{ROOT}/rate-limits/{{key:path}}",
        handler=reset_rate_limit,
        access=ADMIN,
        id="resetRateLimit",
        summary="Refill the buckets of a key on every data plane, at the owners of limits and in Redis",
        answers=(
            Answer(200, "The buckets that each data plane has reset", ResetShape),
            Answer(202, "Some data planes have not answered yet", ResetShape),
        ),
        tag="fleet",
        parameters=(
            Parameter(
                "wait",
                f"Seconds to wait for the data planes to report their resets; {RESET_WITHIN:g} by default.",
                schema=rollout.PARAMETERS[0].schema,
            ),
        ),
        refusals=(400, 404),
    )
