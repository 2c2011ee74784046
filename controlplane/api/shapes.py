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
    port: int | None
    weight: int
    metadata: dict[str, str]
    workers: Annotated[
        int,
        Field(
            description="Processes that hold the registration together; 0 for an instance of the document."
        ),
    ]


class VersionShape(Shape):
    """What is known of a resource beside its fields."""

    revision: Annotated[int, Field(description="Of its last change; its ETag.")]


class StatusShape(VersionShape):
    """What is known of a resource that data planes are sent."""

    serving: Annotated[int, Field(description="Connected data planes that serve this revision of it.")]
    connected: Annotated[int, Field(description="Connected data planes.")]


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

    remaining: Annotated[
        float, Field(description="Tokens left, as far as the data plane knows; of max_concurrent: requests.")
    ]
    refused: Annotated[int, Field(description="Requests that it refused for this key.")]
    counted: Annotated[
        Literal["unknown", "worker", "node", "fleet", "redis"],
        Field(
            description="Where: in each worker, in the data plane, at the control plane that owns the limit, in Redis."
        ),
    ]
    away: Annotated[
        bool,
        Field(description="The owner, or Redis, does not answer it; the limit says what holds meanwhile."),
    ]


class BucketShape(Shape):
    """One key's bucket over the fleet."""

    key: Annotated[
        str,
        Field(
            description="As DELETE /api/v1/rate-limits/{key} takes it; a keyed hash (#…) stands for what may be secret."
        ),
    ]
    remaining: Annotated[
        float,
        Field(
            description="Tokens left: in the bucket of the fleet, or in that of the data plane with fewest."
        ),
    ]
    refused: Annotated[int, Field(description="Of all data planes.")]
    dataplanes: Annotated[dict[str, NodeBucketShape], Field(description="By node.")]


class BoundShape(Shape):
    """What is let through of one key in any time: `burst`, and `per_second` times its seconds. In requests."""

    burst: Annotated[int | None, Field(description="Null for a limit without a rate.")]
    per_second: float | None
    under_way: Annotated[int | None, Field(description="Requests at the same time, in each data plane.")]
    over: Annotated[
        Literal["fleet", "dataplane"],
        Field(description="Whether it is for all data planes together, or for each."),
    ]
    holds: Annotated[bool, Field(description="Whether it is in force now, everywhere.")]
    reason: Annotated[str, Field(description="Why, or what holds in its place.")]


class RateLimitShape(Shape):
    """A limit and the buckets in use; settings are null for a limit from a data plane's own settings."""

    name: str
    per_second: Annotated[float | None, Field(description="Tokens that flow back.")] = None
    burst: Annotated[int | None, Field(description="Tokens.")] = None
    max_concurrent: int | None = None
    key: Annotated[
        str | None, Field(description="What has a bucket of its own; parts with commas between.")
    ] = None
    enforce: str | None = None
    mode: str | None = None
    owner: Annotated[
        str | None,
        Field(description="The control plane that owns a limit of mode fleet; null while there is none."),
    ] = None
    bound: BoundShape | None = None
    refused: Annotated[int, Field(description="Of all buckets that data planes reported.")]
    more: Annotated[int, Field(description="Buckets that are reported and not listed: see `most`.")]
    buckets: Annotated[list[BucketShape], Field(description="The most refused first, then the emptiest.")]


class ResetShape(Shape):
    """What was reset. Complete as of what the data planes knew of the key."""

    revision: Annotated[int, Field(description="Of the order.")]
    key: str
    buckets: Annotated[int, Field(description="How many were filled up.")]
    limits: Annotated[
        dict[str, int],
        Field(description="The same by limit: one for each data plane, or one where all share it."),
    ]
    dataplanes: Annotated[dict[str, int], Field(description="Buckets that each data plane had of its own.")]
    unreached: Annotated[list[str], Field(description="Limits in Redis, where it did not answer.")]
    waiting: Annotated[
        list[str], Field(description="Connected data planes that have not answered yet. They will reset it.")
    ]
    unreported: Annotated[
        list[str],
        Field(
            description="Connected data planes of older versions: they have reset it, and do not say how many buckets."
        ),
    ]


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


class LinksShape(Shape):
    """Paths on this server."""

    reference: str
    openapi: str
    token: str
    health: str
    ready: str
    metrics: str


class IndexShape(Shape):
    """What there is."""

    name: str
    version: str
    links: LinksShape


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
