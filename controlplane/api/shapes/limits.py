"""Rate limits, their buckets, and resets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.shapes.base import Shape


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
