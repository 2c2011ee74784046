"""Rate limits: what is accepted, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.capabilities import needs
from controlplane.model.resources import parse
from tests.unit.controlplane.model.raw_resources import check_accepted, check_refused, limit

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("rate_limit", limit(per_second=0.5, key="header", header="x-client")),
    ("rate_limit", limit(key="subject", mode="local", on_store_failure="open")),
    ("rate_limit", limit(key="subject", mode="redis", on_store_failure="local")),
    ("rate_limit", limit(key="route")),
    ("rate_limit", limit(key="api_key", advertise=True, enforce="shadow")),
    (
        "rate_limit",
        limit(key=["address", "header:x-client", "claim:https://example.org/plan"], enforce="25%"),
    ),
    ("rate_limit", {"name": "a", "requests": 1000, "per": "day"}),
    (
        "rate_limit",
        {"name": "a", "requests": 60, "per": "minute", "burst": 10, "cost": 5, "cost_header": "x-cost"},
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "key": "claim:plan"}),
    ("rate_limit", limit(max_concurrent=3, address_prefix=48)),
]


@pytest.mark.parametrize(("kind", "raw"), GOOD)
def test_what_is_right_is_taken_and_survives_being_stored(kind: str, raw: dict[str, Any]) -> None:
    check_accepted(kind, raw)


BAD: list[tuple[str, object, str, str]] = [
    ("rate_limit", {"name": "a"}, "per_second", "is required"),
    ("rate_limit", {"name": "a", "per_second": 1}, "burst", "is required"),
    ("rate_limit", limit(per_second=0), "per_second", "must be at least 0.001"),
    ("rate_limit", limit(burst=1.5), "burst", "must be a whole number"),
    ("rate_limit", limit(key="ip"), "key", "must be 'address', 'subject', 'api_key', 'route', 'header'"),
    ("rate_limit", limit(key=["address", "claim:"]), "key", "'claim:<name>', not 'claim:'"),
    ("rate_limit", limit(key="claim:a,b"), "key", "'claim:<name>', not 'claim:a,b'"),
    (
        "rate_limit",
        limit(key="header:X-Client"),
        "key",
        "must be 'header:x-client', in lower case, not 'header:X-",
    ),
    ("rate_limit", limit(key=["route", "API_Key"]), "key", "must be 'api_key', in lower case, not 'API_Key'"),
    (
        "rate_limit",
        limit(key="Claim:Tenant"),
        "key",
        "must be 'claim:Tenant', in lower case, not 'Claim:Tenant'",
    ),
    ("rate_limit", limit(key="header:X Client"), "key", "'header:<name>'"),
    ("rate_limit", limit(key=[]), "key", "must have 1 to 4 parts"),
    (
        "rate_limit",
        limit(key=["claim:a", "claim:b", "claim:c", "claim:d", "route"]),
        "key",
        "must have 1 to 4",
    ),
    ("rate_limit", limit(key=["route", "route"]), "key", "'route' is there twice"),
    ("rate_limit", limit(key=["route", "header"]), "header", "is required when key is header"),
    ("rate_limit", limit(address_prefix=0), "address_prefix", "must be at least 1"),
    ("rate_limit", limit(address_prefix=129), "address_prefix", "must be at most 128"),
    ("rate_limit", limit(requests=1), "requests", "must not be given together with per_second"),
    ("rate_limit", limit(per="day"), "per", "must not be given together with per_second"),
    ("rate_limit", {"name": "a", "requests": 5}, "per", "is required together with requests"),
    ("rate_limit", {"name": "a", "per": "day"}, "requests", "is required together with per"),
    (
        "rate_limit",
        {"name": "a", "requests": 5, "per": "week"},
        "per",
        "must be 'second', 'minute', 'hour' or 'day'",
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "burst": 1}, "burst", "has no meaning without a rate"),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "cost": 2}, "cost", "has no meaning without a rate"),
    (
        "rate_limit",
        {"name": "a", "max_concurrent": 5, "cost_header": "x"},
        "cost_header",
        "has no meaning without",
    ),
    ("rate_limit", {"name": "a", "max_concurrent": 0}, "max_concurrent", "must be at least 1"),
    ("rate_limit", limit(cost=2), "cost", "must be at most the burst of 1"),
    ("rate_limit", limit(cost=0), "cost", "must be at least 1"),
    ("rate_limit", {"name": "a", "requests": 5, "per": "day", "cost": 6}, "cost", "at most the burst of 5"),
    ("rate_limit", limit(cost_header="X-Cost"), "cost_header", "in lower case"),
    (
        "rate_limit",
        limit(cost_header="content-length"),
        "cost_header",
        "must not be a field that the gateway itself writes",
    ),
    ("rate_limit", limit(enforce="off"), "enforce", "on, shadow, or a share of the keys"),
    ("rate_limit", limit(enforce="101%"), "enforce", "on, shadow, or a share of the keys"),
    ("rate_limit", limit(enforce=25), "enforce", "on, shadow, or a share of the keys from 0% to 100%"),
    ("rate_limit", limit(enforce=0.25), "enforce", "on, shadow, or a share of the keys from 0% to 100%"),
    ("rate_limit", limit(enforce=False), "enforce", "on, shadow, or a share of the keys from 0% to 100%"),
    ("rate_limit", limit(without_owner="never"), "without_owner", "must be 'strict', 'share' or 'open'"),
    ("rate_limit", {"name": "a", "max_concurrent": 5, "mode": "fleet"}, "mode", "fleet needs a rate"),
    ("rate_limit", {"name": "l", "max_concurrent": 3, "mode": "redis"}, "mode", "redis needs a rate"),
    ("rate_limit", limit(mode="global"), "mode", "must be 'local', 'fleet' or 'redis'"),
    ("rate_limit", limit(on_store_failure="shut"), "on_store_failure", "must be 'open', 'closed' or 'local'"),
    ("rate_limit", limit(key="header"), "header", "is required when key is header"),
    ("rate_limit", limit(header="x-client"), "header", "has no meaning unless"),
    ("rate_limit", limit(key="header", header="X-Client"), "header", "in lower case"),
]


@pytest.mark.parametrize(("kind", "raw", "field", "detail"), BAD)
def test_what_is_wrong_is_told_with_its_field(kind: str, raw: object, field: str, detail: str) -> None:
    check_refused(kind, raw, field, detail)


def _warned(**fields: object) -> list[str]:
    made = parse("rate_limit", {"name": "a", "per_second": 10, "burst": 100, "mode": "fleet", **fields})
    return [str(problem) for problem in made.warnings()]


def test_a_limit_of_the_fleet_that_is_too_small_for_many_workers_is_warned_of() -> None:
    assert not _warned()
    (small,) = _warned(burst=10)
    assert "enough for 4 workers of all data planes together: with more of them" in small
    (smaller,) = _warned(burst=3)
    assert "is 3 requests for the whole fleet, too few to divide among workers: the first request" in smaller
    assert "is 1 request for" in _warned(burst=1)[0]
    # Amounts count in requests.
    assert "is 10 requests" in _warned(cost=10)[0]
    assert not _warned(burst=10, mode="local")


def test_what_does_not_hold_for_the_whole_fleet_is_warned_of() -> None:
    assert "in each data plane" in _warned(max_concurrent=5)[0]
    assert "admits every request" in _warned(without_owner="open")[0]
    assert "unless mode is fleet" in _warned(mode="local", without_owner="strict")[0]


def test_a_limit_of_the_fleet_needs_data_planes_that_know_it() -> None:
    made = parse("rate_limit", {"name": "a", "per_second": 10, "burst": 100, "mode": "fleet"})
    assert [need.capability for need in needs(made)] == ["limits.fleet"]
    assert not needs(parse("rate_limit", {"name": "a", "per_second": 10, "burst": 100}))
