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
    reason: Annotated[
        str, Field(description="Reason of the last failed probe; empty for a healthy instance.")
    ]
    host: str
    port: int | None
    weight: int
    metadata: dict[str, str]
    workers: Annotated[
        int,
        Field(description="Processes that share the registration; 0 for an instance that does not register."),
    ]
    source: Annotated[
        Literal["registered", "static", "discovered"],
        Field(description="Whether it registers, is listed in its service, or was found by discovery."),
    ]


class DiscoveryShape(Shape):
    """Whether the source that a service's `discovery` names answers."""

    source: str
    instances: Annotated[
        int, Field(description="Known instances. They stay while the source does not answer.")
    ]
    problem: Annotated[str, Field(description="What is wrong with the source; empty: nothing.")]
    since: Annotated[Moment, Field(description="Since when there is a problem.")]


class VersionShape(Shape):
    """Facts about a resource beside its fields."""

    revision: Annotated[int, Field(description="Revision of the resource's last change; also its ETag.")]


class StatusShape(VersionShape):
    """Facts about a resource that is sent to data planes."""

    serving: Annotated[
        int, Field(description="Connected data planes that serve this revision of the resource.")
    ]
    connected: Annotated[int, Field(description="Connected data planes.")]


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


class NodeBucketShape(Shape):
    """A bucket on one data plane."""

    remaining: Annotated[
        float, Field(description="Tokens left, as far as the data plane knows; for max_concurrent, requests.")
    ]
    refused: Annotated[int, Field(description="Requests of this key that the data plane refused.")]
    counted: Annotated[
        Literal["unknown", "worker", "node", "fleet", "redis"],
        Field(
            description="Place of the count: each worker, the data plane, the control plane that owns the "
            "limit, or Redis."
        ),
    ]
    away: Annotated[
        bool,
        Field(
            description="The owner or Redis does not answer the data plane; without_owner or "
            "on_store_failure of the limit applies."
        ),
    ]


class BucketShape(Shape):
    """One key's bucket over the fleet."""

    key: Annotated[
        str,
        Field(
            description="The key that DELETE /api/v1/rate-limits/{key} takes; a keyed hash (#…) replaces a "
            "value that may be secret."
        ),
    ]
    remaining: Annotated[
        float,
        Field(description="Tokens left: in the fleet's bucket, or the fewest in any data plane's bucket."),
    ]
    refused: Annotated[int, Field(description="Requests of this key that all data planes refused.")]
    dataplanes: Annotated[dict[str, NodeBucketShape], Field(description="By node.")]


class BoundShape(Shape):
    """The most requests of one key admitted in any time: `burst`, plus `per_second` times the seconds."""

    burst: Annotated[int | None, Field(description="Null for a limit without a rate.")]
    per_second: float | None
    under_way: Annotated[
        int | None, Field(description="Requests under way at the same time, in each data plane.")
    ]
    over: Annotated[
        Literal["fleet", "dataplane"],
        Field(description="Whether the bound is for all data planes together, or for each."),
    ]
    holds: Annotated[bool, Field(description="Whether the bound is in force now, everywhere.")]
    reason: Annotated[str, Field(description="The reason, or the rule that applies instead.")]


class RateLimitShape(Shape):
    """A limit and the buckets in use; settings are null for a limit from a data plane's own settings."""

    name: str
    per_second: Annotated[
        float | None, Field(description="Tokens that flow back into a bucket per second.")
    ] = None
    burst: Annotated[int | None, Field(description="Size of a bucket in tokens.")] = None
    max_concurrent: int | None = None
    key: Annotated[str | None, Field(description="Parts of the key of a bucket, separated by commas.")] = None
    enforce: str | None = None
    mode: str | None = None
    owner: Annotated[
        str | None,
        Field(description="The control plane that owns a limit of mode fleet; null while there is none."),
    ] = None
    bound: BoundShape | None = None
    refused: Annotated[int, Field(description="Refused requests of all reported buckets.")]
    more: Annotated[int, Field(description="Reported buckets that are not listed: see `most`.")]
    buckets: Annotated[
        list[BucketShape],
        Field(
            description="Sorted by refused requests, the most first, then by tokens left, the fewest first."
        ),
    ]


class ResetShape(Shape):
    """The outcome of a reset, as far as the data planes know the key."""

    revision: Annotated[int, Field(description="Revision of the order to reset.")]
    key: str
    buckets: Annotated[int, Field(description="Number of buckets that were refilled.")]
    limits: Annotated[
        dict[str, int],
        Field(description="Number of buckets by limit: one for each data plane, or one that all share."),
    ]
    dataplanes: Annotated[
        dict[str, int], Field(description="Refilled buckets that belong to one data plane alone, by node.")
    ]
    unreached: Annotated[
        list[str], Field(description="Limits that were not reset, because Redis did not answer.")
    ]
    waiting: Annotated[
        list[str],
        Field(description="Connected data planes that have not answered yet. They will reset the key."),
    ]
    unreported: Annotated[
        list[str],
        Field(
            description="Connected data planes of older versions: they have reset the key, but do not "
            "report the number of buckets."
        ),
    ]


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


class DataplaneShape(Shape):
    """A data plane, connected or gone within the last minutes."""

    node: str
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
    reason: Annotated[str, Field(description="The reason why the data plane is not done, in words.")]
    rejection: RejectionShape | None


class RolloutShape(Shape):
    """The rollout of a revision to the data planes."""

    revision: int
    digest: Annotated[
        str,
        Field(
            description="Digest of the published configuration with this revision; empty until it is published."
        ),
    ]
    state: Literal["served", "waiting", "rejected"]
    serving: int
    needed: Annotated[int, Field(description="Number of connected data planes that must serve the revision.")]
    nodes: list[NodeProgressShape]
    problem: Annotated[
        str,
        Field(
            description="The reason why no data plane can serve the revision now; empty when none is known."
        ),
    ]


class WarningShape(Shape):
    """A value that is allowed, but probably a mistake."""

    field: str
    detail: str


class ReceiptShape(Shape):
    """The outcome of a document that was written, or checked in a dry run. With `wait`, also the members of a
    rollout."""

    revision: int
    changes: list[ChangeShape]
    warnings: Annotated[
        list[WarningShape] | None,
        Field(description="Values that are allowed, but probably mistakes; absent if there are none."),
    ] = None
    unfinished: Annotated[
        str | None,
        Field(
            description="With status 202: a text that says that the change is decided, but not completed yet."
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
    """A recorded change of the configuration."""

    revision: int
    author: str
    time: Moment
    summary: str
    changes: list[ChangedShape]
    whole: Annotated[
        bool,
        Field(
            description="False for a change too large to be recorded completely: no rollback to a revision before it."
        ),
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
    fields: Annotated[list[FieldShape], Field(description="The fields that an update changed.")]
    password: Annotated[bool, Field(description="Whether a password was set.")]


class RecordShape(ChangeRecordShape):
    """A change, with each resource before and after it."""

    edits: list[EditShape]


class RollbackShape(Shape):
    """The revision to roll back to."""

    to: Annotated[int, Field(ge=1, description="Revision whose configuration is restored.")]
    users: Annotated[
        bool,
        Field(
            description="Whether users are restored, too, which returns scopes that were taken away; "
            "otherwise users do not change."
        ),
    ] = False
    dry_run: Annotated[bool, Field(description="Report what would change, and write nothing.")] = False


class RevisionShape(Shape):
    """The revision of a change."""

    revision: int


class LineageShape(Shape):
    """Which store it is, and when an operator last confirmed it."""

    id: Annotated[str, Field(description="Id of the store; empty when the store has none.")]
    epoch: Annotated[int, Field(description="Unix milliseconds of the last confirmation; 0 for never.")]


class ServedShape(Shape):
    """The published configuration."""

    revision: int
    lineage: LineageShape


class StoreShape(Shape):
    """The store, and whether its content is published."""

    connected: bool
    frozen: Annotated[
        bool,
        Field(
            description="The fleet keeps its configuration until an operator confirms the store's content."
        ),
    ]
    reason: Annotated[str, Field(description="The reason why it is frozen; empty when it is not.")]
    revision: int
    lineage: LineageShape
    served: ServedShape


class ConfirmedShape(Shape):
    """The store's content is published from here on."""

    revision: int
    lineage: LineageShape
    reason: Annotated[
        str,
        Field(
            description="The doubt about the store that the confirmation settled; empty when there was none."
        ),
    ]


class TokenShape(Shape):
    """RFC 6749 §5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: Annotated[int, Field(description="Seconds.")]
    scope: Annotated[str | None, Field(description="Left out when the user holds no scopes.")] = None
    refresh_token: Annotated[str | None, Field(description="Valid for one use.")] = None


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
    """The entry points of the admin API."""

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
        Field(description="Problems of the store, and problems that keep its content from being published."),
    ]


class HealthShape(Shape):
    """The process is alive. Problems that a restart would not solve are listed."""

    status: Literal["ok", "degraded"]
    version: str
    store: str
    revision: int
    problems: list[str]
