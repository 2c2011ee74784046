"""Circuits and data planes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final, Literal

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape, moment
from controlplane.fleet.reports import NodeState, Rejection
from controlplane.model.resources import Circuit

MOST_PROBLEMS: Final = 20
"""Certificates that are named of one data plane."""


class CircuitStats(Shape):
    """Counted since the data planes started."""

    total_requests: int
    failed_requests: int
    rejected_requests: Annotated[int, Field(description="Requests that the open circuit refused.")]


class NodeCircuitShape(Shape):
    """The breaker of one service on one data plane."""

    state: Literal["closed", "half_open", "open"]
    last_state_change: Moment
    stats: CircuitStats
    recent_failures: Annotated[int, Field(description="Failures within the failure window.")]
    reason: Annotated[str, Field(description="The last transition, like 'Circuit opened after 5 failures'.")]


class CircuitShape(NodeCircuitShape):
    """The breaker of one service over the fleet: the worst state, counters added up."""

    service_name: str
    config: Circuit
    dataplanes: Annotated[dict[str, NodeCircuitShape], Field(description="By node.")]


class ProblemShape(Shape):
    """A reason why a data plane rejected a revision."""

    resource: str
    field: str
    detail: str


class RejectionShape(Shape):
    """A revision that a data plane rejected, or that is withheld from it."""

    revision: int
    withheld: Annotated[
        bool, Field(description="The revision was not sent: the data plane lacks a capability that it needs.")
    ]
    problems: list[ProblemShape]
    at: Moment


def rejection(seen: Rejection | None) -> RejectionShape | None:
    """A rejection as programs read it."""
    if seen is None:
        return None
    problems = [
        ProblemShape(resource=one.resource, field=one.field, detail=one.detail) for one in seen.problems
    ]
    at = moment(seen.at)
    return RejectionShape(revision=seen.revision, withheld=seen.withheld, problems=problems, at=at)


class CertificateProblemShape(Shape):
    """A certificate whose files a data plane cannot use as they are now: what it read last stays in use."""

    certificate: str
    detail: str


class DataplaneShape(Shape):
    """A data plane, connected or gone within the last minutes."""

    node: Annotated[
        str,
        Field(description="Its NODE; behind that of its pool and a slash, unless that is the default."),
    ]
    pool: Annotated[str, Field(description="The pool that its credential belongs to.")]
    version: str
    connected: bool
    sent_revision: int
    applied_revision: Annotated[
        int, Field(description="Revision that every worker of the node serves; 0 for none.")
    ]
    digest: str
    last_seen: Moment
    last_rejection: RejectionShape | None
    total_requests: int
    connected_since: Moment
    applied_at: Annotated[
        Moment,
        Field(
            description="When it said that it serves the configuration that it serves now; null if it has served it "
            "since it connected."
        ),
    ]
    seconds_to_apply: Annotated[
        float | None, Field(description="Seconds from sending that configuration to its answer.")
    ]
    stats_at: Annotated[Moment, Field(description="When it counted total_requests.")]
    certificate_problems: Annotated[
        list[CertificateProblemShape],
        Field(
            max_length=MOST_PROBLEMS, description="Certificates whose files it cannot use as they are now."
        ),
    ]


def dataplane(state: NodeState) -> DataplaneShape:
    """A data plane as programs read it."""
    return DataplaneShape(
        node=state.node,
        pool=state.pool,
        version=state.version,
        connected=state.connected,
        sent_revision=state.sent_revision,
        applied_revision=state.applied_revision,
        digest=state.digest,
        last_seen=moment(state.last_seen),
        last_rejection=rejection(state.last_rejection),
        total_requests=state.stats.total_requests,
        connected_since=moment(state.since),
        applied_at=moment(state.applied_at),
        seconds_to_apply=round(state.took, 4) if state.applied_at else None,
        stats_at=moment(state.stats.at),
        certificate_problems=list(islice(_certificate_problems(state), MOST_PROBLEMS)),
    )


def _certificate_problems(state: NodeState) -> Iterator[CertificateProblemShape]:
    return (
        CertificateProblemShape(certificate=one.name, detail=one.problem)
        for one in state.certificates
        if one.problem
    )
