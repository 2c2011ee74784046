"""The limits and their buckets over the fleet, as data planes report them, and the bound that is in force. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

from controlplane.fleet.reports import LimitPlace, RateLimitReport
from controlplane.model.rate_limit import RateLimit

USUAL: Final = 100
"""Buckets that are shown unless another number is asked for."""
MOST: Final = 1000
_MODES: Final = {LimitPlace.FLEET: "fleet", LimitPlace.REDIS: "redis", LimitPlace.UNKNOWN: ""}
_NAMED: Final = 3
"""Data planes named in a sentence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter for the shown limits; empty fields match everything."""

    limit: str | None = None
    key: str | None = None
    """The key as it is shown, or its value alone."""
    node: str | None = None
    most: int = USUAL
    """Most buckets to show, of all limits together."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The requests that a limit admits for each key: `burst` and `per_second` times the seconds, at most."""

    burst: int | None
    """None: the limit has no rate."""
    per_second: float | None
    under_way: int | None
    """Requests under way at the same time, in each data plane."""
    whole_fleet: bool
    """Whether it counts for all data planes together, and not for each."""
    holds: bool
    """Whether it is in force now, at every data plane."""
    reason: str
    """The reason, or the rule that applies instead: a sentence."""


@dataclass(frozen=True, slots=True)
class BucketView:
    """One key's bucket of one limit, over the fleet."""

    key: str
    remaining: float
    """Tokens left in the bucket that all data planes share, as far as known; else the fewest in any data plane's
    bucket."""
    refused: int
    dataplanes: Mapping[str, RateLimitReport]


@dataclass(frozen=True, slots=True)
class LimitView:
    """One limit. `limit` is None for one that a data plane has from its own settings."""

    name: str
    limit: RateLimit | None
    mode: str
    """local, fleet or redis; of one that is not known here as buckets are reported, or empty."""
    owner: str
    """The control plane that owns a limit of the fleet; empty for others, and while there is none."""
    bound: Bound | None
    buckets: Sequence[BucketView]
    """Sorted by refused requests, the most first, then by tokens left, the fewest first."""
    more: int
    """Buckets that are not shown."""
    refused: int
    """Requests refused by all reported buckets, including buckets that are not shown."""


def rate_limits(
    limits: Mapping[str, RateLimit],
    reports: Mapping[str, Iterable[RateLimitReport]],
    owner: Callable[[str], str],
    choice: Choice,
) -> tuple[LimitView, ...]:
    """The limits, sorted by refused requests, the most first, then by name. `reports` is by the names of connected data
    planes."""
    nodes = sorted(reports) if choice.node is None else [choice.node] if choice.node in reports else []
    heard: dict[tuple[str, str], dict[str, RateLimitReport]] = defaultdict(dict)
    for node in nodes:
        for bucket in reports[node]:
            if _is_chosen(choice, bucket, limits.get(bucket.name)):
                heard[bucket.name, bucket.key][node] = bucket
    found: dict[str, list[BucketView]] = defaultdict(list)
    for (name, key), each in heard.items():
        found[name].append(_bucket(key, each))
    names = set(found)
    if choice.key is None:
        names |= limits.keys() if choice.limit is None else limits.keys() & {choice.limit}
    shown = _most(found, choice.most)
    views = [
        _view(name, limits.get(name), owner, found.get(name, ()), shown.get(name, ()), len(reports))
        for name in names
    ]
    return tuple(sorted(views, key=lambda view: (-view.refused, view.name)))


def _is_chosen(choice: Choice, bucket: RateLimitReport, limit: RateLimit | None) -> bool:
    if choice.limit is not None and bucket.name != choice.limit:
        return False
    if choice.key is None or bucket.key == choice.key:
        return True
    parts = ",".join(limit.keys) if limit is not None else bucket.key.partition(":")[0]
    return bucket.key == f"{parts}:{choice.key}"


def _bucket(key: str, each: Mapping[str, RateLimitReport]) -> BucketView:
    reports = each.values()
    if all(one.place is LimitPlace.FLEET for one in reports):
        # The owner's pool is the same for all, as of their last answers.
        remaining = sum(one.held for one in reports) + min(one.remaining - one.held for one in reports)
    else:
        remaining = min(one.remaining for one in reports)
    return BucketView(key, remaining, sum(one.refused for one in reports), each)


def _most(found: Mapping[str, Iterable[BucketView]], most: int) -> dict[str, list[BucketView]]:
    """The first ones of all limits together."""
    listed = [
        (-one.refused, one.remaining, name, one.key, one) for name, each in found.items() for one in each
    ]
    shown: dict[str, list[BucketView]] = defaultdict(list)
    for *_, name, _, one in nsmallest(most, listed, key=lambda row: row[:4]):
        shown[name].append(one)
    return shown


def _view(
    name: str,
    limit: RateLimit | None,
    owner: Callable[[str], str],
    buckets: Sequence[BucketView],
    shown: Sequence[BucketView],
    dataplanes: int,
) -> LimitView:
    mode = _mode(limit, buckets)
    owned = owner(name) if mode == "fleet" else ""
    away = sorted({node for one in buckets for node, report in one.dataplanes.items() if report.away})
    bound = None if limit is None else _bound(limit, owned, away, dataplanes)
    refused = sum(one.refused for one in buckets)
    return LimitView(name, limit, mode, owned, bound, shown, len(buckets) - len(shown), refused)


def _mode(limit: RateLimit | None, buckets: Sequence[BucketView]) -> str:
    if limit is not None:
        return limit.mode
    places = [report.place for one in buckets for report in one.dataplanes.values()]
    return _MODES.get(places[0], "local") if places else ""


def _bound(limit: RateLimit, owner: str, away: Sequence[str], dataplanes: int) -> Bound:
    whole_fleet = bool(limit.rate) and limit.mode != "local"
    if limit.enforce in ("shadow", "0%"):
        holds, reason = False, f"enforce: {limit.enforce} refuses nothing"
    elif not limit.rate:
        holds, reason = True, "each data plane counts for itself"
    elif limit.mode == "fleet":
        holds, reason = _of_the_fleet(limit, owner, away)
    elif limit.mode == "redis":
        holds, reason = _in_redis(limit, away)
    else:
        holds, reason = (
            True,
            f"each data plane counts for itself, and {dataplanes} {'is' if dataplanes == 1 else 'are'} connected",
        )
    if holds and limit.enforce != "on":
        holds, reason = False, f"{reason}; enforced for {limit.enforce} of the keys only"
    if holds and limit.cost_header:
        reason += "; a cost that the response reports can overdraw it"
    if not limit.rate:
        return Bound(None, None, limit.max_concurrent, False, holds, reason)
    rate = limit.rate / limit.cost
    return Bound(limit.tokens // limit.cost, rate, limit.max_concurrent, whole_fleet, holds, reason)


def _of_the_fleet(limit: RateLimit, owner: str, away: Sequence[str]) -> tuple[bool, str]:
    if owner and not away:
        return True, f"workers lease from control plane {owner}"
    who = f"the owner does not answer {_named(away)}" if owner else "no control plane owns the limit"
    match limit.without_owner:
        case "strict":
            return True, f"{who}: strict, only leased requests pass"
        case "open":
            return False, f"{who}: open, everything passes"
        case _:
            return True, f"{who}: share, each worker admits its share"


def _in_redis(limit: RateLimit, away: Sequence[str]) -> tuple[bool, str]:
    if not away:
        return True, "counted in Redis"
    who = f"Redis does not answer {_named(away)}"
    match limit.on_store_failure:
        case "closed":
            return True, f"{who}: closed, nothing passes there"
        case "local":
            return False, f"{who}: local, each data plane counts for itself there"
        case _:
            return False, f"{who}: open, everything passes there"


def _named(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"{', '.join(nodes[:_NAMED])}{more}"
