"""Response bodies of the admin API, beside the resources themselves. OpenAPI is generated from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from controlplane.fleet.reports import Rejection
from controlplane.model.resources import Circuit

Moment = Annotated[str | None, Field(description="RFC 3339, UTC; null when it has not happened.")]


def moment(seconds: float) -> str | None:
    """Unix seconds as RFC 3339; 0 stands for never."""
    if not seconds:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(frozen=True)


class InstanceShape(Shape):
    """An instance and the fleet's verdict on it."""

    status: Literal["starting", "healthy", "unhealthy", "draining"]
    last_check: Moment
    reason: Annotated[str, Field(description="Why the last failed probe failed; empty for a healthy one.")]
    host: str
    port: int
    weight: int
    metadata: dict[str, str]
    workers: Annotated[
        int,
        Field(
            description="Processes that hold the registration together; 0 for an instance of the document."
        ),
    ]


class ServiceShape(Shape):
    """A service as the fleet sees it."""

    service_name: str
    instances: Annotated[dict[str, InstanceShape], Field(description="By instance_id.")]
    healthy: int
    total: int


class CircuitStats(Shape):
    """Counted since the data planes started."""

    total_requests: int
    failed_requests: int
    rejected_requests: Annotated[int, Field(description="Refused by the open circuit.")]


class NodeCircuitShape(Shape):
    """The breaker of one service on one data plane."""

    state: Literal["closed", "half_open", "open"]
    last_state_change: Moment
    stats: CircuitStats
    recent_failures: Annotated[int, Field(description="Within the failure window.")]
    reason: Annotated[str, Field(description="The last transition, like 'Circuit opened after 5 failures'.")]


class CircuitShape(NodeCircuitShape):
    """The breaker of one service over the fleet: the worst state, counters added up."""

    service_name: str
    config: Circuit
    dataplanes: Annotated[dict[str, NodeCircuitShape], Field(description="By node.")]


class NodeBucketShape(Shape):
    """A bucket on one data plane."""

    remaining: Annotated[float, Field(description="Tokens left.")]
    refused: int


class BucketShape(NodeBucketShape):
    """One caller's bucket over the fleet: where fewest tokens are left, refusals added up."""

    key: Annotated[str, Field(description="Caller key, as DELETE /api/v1/rate-limits/{key} takes it.")]
    dataplanes: Annotated[dict[str, NodeBucketShape], Field(description="By node.")]


class RateLimitShape(Shape):
    """A limit and the buckets in use; settings are null for a limit from a data plane's own settings."""

    name: str
    per_second: float | None = None
    burst: int | None = None
    max_concurrent: int | None = None
    key: Annotated[
        str | None, Field(description="What has a bucket of its own; parts with commas between.")
    ] = None
    enforce: str | None = None
    mode: str | None = None
    buckets: list[BucketShape]


class ProblemShape(Shape):
    """Why a data plane refused a revision."""

    resource: str
    field: str
    detail: str


class RejectionShape(Shape):
    """A revision that a data plane refused, or is not given."""

    revision: int
    withheld: Annotated[
        bool, Field(description="It was not sent: the data plane lacks a capability that it needs.")
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


class DataplaneShape(Shape):
    """A data plane, connected or gone within the last minutes."""

    node: str
    version: str
    connected: bool
    sent_revision: int
    applied_revision: Annotated[int, Field(description="Every worker of the node serves it; 0 for none.")]
    digest: str
    last_seen: Moment
    last_rejection: RejectionShape | None
    total_requests: int


class ChangeShape(Shape):
    """The outcome for one resource."""

    action: Literal["create", "update", "delete", "unchanged"]
    kind: str
    name: str


class NodeProgressShape(Shape):
    """One data plane's progress."""

    node: str
    connected: Annotated[bool, Field(description="Only connected data planes count.")]
    applied_revision: int
    done: bool
    reason: Annotated[str, Field(description="Why it is not done, in words.")]
    rejection: RejectionShape | None


class RolloutShape(Shape):
    """How far the data planes are with a revision."""

    revision: int
    digest: Annotated[str, Field(description="Of the table that holds the revision; empty until published.")]
    state: Literal["served", "waiting", "rejected"]
    serving: int
    needed: Annotated[int, Field(description="How many of the connected data planes are enough.")]
    nodes: list[NodeProgressShape]
    problem: Annotated[
        str, Field(description="Why no data plane can serve it now; empty when there is no known reason.")
    ]


class WarningShape(Shape):
    """Something that is allowed and probably not meant."""

    field: str
    detail: str


class ReceiptShape(Shape):
    """A document that is in the store, or in a dry run could be. With `wait`, the members of a rollout as well."""

    revision: int
    changes: list[ChangeShape]
    warnings: Annotated[
        list[WarningShape] | None,
        Field(description="What is allowed and probably not meant; absent: nothing."),
    ] = None
    unfinished: Annotated[
        str | None,
        Field(
            description="With 202: the change is decided and not in place yet, in words. It will be completed."
        ),
    ] = None
    digest: str | None = None
    state: Literal["served", "waiting", "rejected"] | None = None
    serving: int | None = None
    needed: int | None = None
    nodes: list[NodeProgressShape] | None = None
    problem: str | None = None


class ChangedShape(Shape):
    """A resource that a change touched."""

    action: str
    kind: str
    name: str


class ChangeRecordShape(Shape):
    """A change of the configuration that is on record."""

    revision: int
    author: str
    time: Moment
    summary: str
    changes: list[ChangedShape]
    whole: Annotated[
        bool, Field(description="False for one too large to be kept whole: no way back past it.")
    ]


class FieldShape(Shape):
    """One field that differs."""

    field: str
    before: Any
    after: Any


class EditShape(ChangedShape):
    """The outcome for one resource, without secrets."""

    before: Annotated[dict[str, Any] | None, Field(description="null when it did not exist.")]
    after: Annotated[dict[str, Any] | None, Field(description="null when it was deleted.")]
    fields: Annotated[list[FieldShape], Field(description="What an update changed.")]
    password: Annotated[bool, Field(description="A password was set.")]


class RecordShape(ChangeRecordShape):
    """A change with everything it changed."""

    edits: list[EditShape]


class RollbackShape(Shape):
    """The revision to roll back to."""

    to: Annotated[int, Field(ge=1, description="Revision whose configuration is put in force again.")]
    users: Annotated[
        bool,
        Field(
            description="Users, too: scopes that were taken away come back. Otherwise they stay as they are."
        ),
    ] = False
    dry_run: Annotated[bool, Field(description="Only say what would change.")] = False


class RevisionShape(Shape):
    """The revision of a change."""

    revision: int


class LineageShape(Shape):
    """Which store it is, and when an operator last confirmed it."""

    id: Annotated[str, Field(description="Empty when the store has none.")]
    epoch: Annotated[int, Field(description="Unix milliseconds of the last confirmation; 0 for never.")]


class ServedShape(Shape):
    """What is published."""

    revision: int
    lineage: LineageShape


class StoreShape(Shape):
    """The store, and whether what it holds is published."""

    connected: bool
    frozen: Annotated[bool, Field(description="The fleet keeps what it has until an operator confirms.")]
    reason: Annotated[str, Field(description="Why it is frozen; empty when it is not.")]
    revision: int
    lineage: LineageShape
    served: ServedShape


class ConfirmedShape(Shape):
    """The store's content is published from here on."""

    revision: int
    lineage: LineageShape
    reason: Annotated[str, Field(description="What was confirmed; empty when nothing was in doubt.")]


class TokenShape(Shape):
    """RFC 6749 §5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: Annotated[int, Field(description="Seconds.")]
    scope: Annotated[str | None, Field(description="Left out where the user holds none.")] = None
    refresh_token: Annotated[str | None, Field(description="Good for one use.")] = None


class ServiceTokenShape(Shape):
    """A token for the registrations of one service."""

    token: str
    service_name: str
    expires_in: Annotated[int, Field(description="Seconds.")]


class TokenErrorShape(Shape):
    """RFC 6749 §5.2."""

    error: str
    error_description: str


class ReadyShape(Shape):
    """Whether requests can be answered."""

    ready: bool
    reasons: list[str]
    revision: int
    problems: Annotated[
        list[str],
        Field(description="What is wrong with the store, or keeps its content from being published."),
    ]


class HealthShape(Shape):
    """The process is alive. Problems that a restart would not solve are listed."""

    status: Literal["ok", "degraded"]
    version: str
    store: str
    revision: int
    problems: list[str]
