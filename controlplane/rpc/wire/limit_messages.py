"""Views of limits as messages of the registry."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.fleet.limit_resets import ResetView
from controlplane.fleet.limit_views import Bound, BucketView, LimitView
from controlplane.fleet.reports import LimitPlace, RateLimitReport
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import status_pb2

PLACES: Mapping[LimitPlace, status_pb2.LimitPlace.ValueType] = {
    LimitPlace.UNKNOWN: status_pb2.LIMIT_PLACE_UNSPECIFIED,
    LimitPlace.WORKER: status_pb2.LIMIT_PLACE_WORKER,
    LimitPlace.NODE: status_pb2.LIMIT_PLACE_NODE,
    LimitPlace.FLEET: status_pb2.LIMIT_PLACE_FLEET,
    LimitPlace.REDIS: status_pb2.LIMIT_PLACE_REDIS,
}


def limit(view: LimitView) -> pb.RateLimitView:
    """A limit with its bound and buckets."""
    return pb.RateLimitView(
        name=view.name,
        mode=view.mode,
        key=",".join(view.limit.keys) if view.limit is not None else "",
        owner=view.owner,
        bound=_bound(view.bound) if view.bound is not None else None,
        refused=view.refused,
        more=view.more,
        buckets=map(_bucket, view.buckets),
    )


def reset(view: ResetView) -> pb.ResetRateLimitResponse:
    """The outcome of a reset."""
    return pb.ResetRateLimitResponse(
        revision=view.revision,
        limits=view.limits,
        dataplanes=view.dataplanes,
        unreached=view.unreached,
        waiting=view.waiting,
        unreported=view.unreported,
    )


def _bound(bound: Bound) -> pb.RateLimitBound:
    return pb.RateLimitBound(
        burst=bound.burst or 0,
        per_second=bound.per_second or 0.0,
        under_way=bound.under_way or 0,
        whole_fleet=bound.whole_fleet,
        holds=bound.holds,
        reason=bound.reason,
    )


def _bucket(view: BucketView) -> pb.BucketView:
    return pb.BucketView(
        key=view.key,
        remaining=view.remaining,
        refused=view.refused,
        dataplanes={node: _report(report) for node, report in view.dataplanes.items()},
    )


def _report(report: RateLimitReport) -> status_pb2.RateLimitReport:
    return status_pb2.RateLimitReport(
        remaining=report.remaining,
        refused=report.refused,
        place=PLACES[report.place],
        held=report.held,
        away=report.away,
    )
