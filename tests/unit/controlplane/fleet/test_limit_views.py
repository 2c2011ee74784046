"""Buckets of many data planes put together, and the bound that is in force."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.fleet.limit_views import Bound, Choice, LimitView, rate_limits
from controlplane.fleet.reports import LimitPlace, RateLimitReport
from controlplane.model.rate_limit import RateLimit

Reports = dict[str, list[RateLimitReport]]


def limit(name: str = "l", **fields: Any) -> RateLimit:
    return RateLimit.model_validate({"name": name, "per_second": 5, "burst": 10, "key": "subject", **fields})


def seen(
    name: str, value: str, remaining: float = 0.0, refused: int = 0, place: str = "node", **fields: Any
) -> RateLimitReport:
    return RateLimitReport(name, f"subject:{value}", remaining, refused, LimitPlace(place), **fields)


def views(
    limits: list[RateLimit], reports: Reports, choice: Choice | None = None, owner: str = ""
) -> tuple[LimitView, ...]:
    return rate_limits({one.name: one for one in limits}, reports, lambda _: owner, choice or Choice())


def bound(limit: RateLimit, reports: Reports | None = None, owner: str = "") -> Bound:
    (view,) = views([limit], reports or {"a": [], "b": []}, owner=owner)
    assert view.bound is not None
    return view.bound


def test_the_most_refused_come_first_and_limits_without_buckets_last() -> None:
    reports = {
        "a": [seen("l", "jo", 4, 1), seen("l", "ann", 0, 9), seen("(coarse)", "x", 0, 7)],
        "b": [seen("l", "jo", 2, 3)],
    }
    found = views([limit("l"), limit("idle")], reports)
    assert [(view.name, view.refused, view.limit is None) for view in found] == [
        ("l", 13, False),
        ("(coarse)", 7, True),
        ("idle", 0, False),
    ]
    ann, jo = found[0].buckets
    assert (ann.key, ann.refused) == ("subject:ann", 9)
    assert (jo.remaining, jo.refused, sorted(jo.dataplanes)) == (2, 4, ["a", "b"]), "where fewest are left"


def test_one_bucket_for_the_fleet_is_what_data_planes_hold_and_what_nobody_holds_once() -> None:
    reports = {
        "a": [seen("l", "jo", 25, place="fleet", held=5)],
        "b": [seen("l", "jo", 26, place="fleet", held=4)],
    }
    (view,) = views([limit(mode="fleet")], reports, owner="cp-1")
    assert [bucket.remaining for bucket in view.buckets] == [29]
    assert view.owner == "cp-1"
    (of_the_settings,) = views([], reports, owner="cp-1")
    assert (of_the_settings.mode, of_the_settings.owner, of_the_settings.bound) == ("fleet", "cp-1", None)


def test_a_key_is_chosen_as_it_is_shown_or_by_its_value() -> None:
    reports = {"a": [seen("l", "jo"), seen("l", "ann"), seen("(coarse)", "jo")], "b": [seen("l", "jo")]}
    for key in ("subject:jo", "jo"):
        found = views([limit("l"), limit("idle")], reports, Choice(key=key))
        assert {view.name: [one.key for one in view.buckets] for view in found} == {
            "l": ["subject:jo"],
            "(coarse)": ["subject:jo"],
        }
    (view,) = views([limit("l"), limit("idle")], reports, Choice(limit="l", node="b"))
    assert [(one.key, list(one.dataplanes)) for one in view.buckets] == [("subject:jo", ["b"])]
    assert views([limit("l")], reports, Choice(key="o")) == ()


def test_what_is_shown_is_bounded_and_what_is_not_is_counted() -> None:
    many = [seen("l", f"{number:03}", refused=number) for number in range(100)]
    (view,) = views([limit()], {"a": many}, Choice(most=3))
    assert [one.refused for one in view.buckets] == [99, 98, 97]
    assert (view.more, view.refused) == (97, sum(range(100)))


def test_the_bound_is_in_requests_and_says_for_whom_it_is() -> None:
    assert bound(limit(per_second=5, burst=105, cost=10)) == Bound(
        10, 0.5, None, False, True, "each data plane counts for itself, and 2 are connected"
    )
    fleet = bound(limit(mode="fleet"), owner="cp-1")
    assert (fleet.whole_fleet, fleet.holds, fleet.reason) == (
        True,
        True,
        "workers lease from control plane cp-1",
    )
    under_way = bound(
        RateLimit.model_validate({"name": "l", "max_concurrent": 4, "key": "subject", "mode": "local"})
    )
    assert (under_way.burst, under_way.per_second, under_way.under_way, under_way.whole_fleet) == (
        None,
        None,
        4,
        False,
    )


@pytest.mark.parametrize(
    ("without_owner", "holds", "says"),
    [("strict", True, "strict"), ("share", True, "share"), ("open", False, "open")],
)
def test_without_an_owner_the_limit_says_what_holds(without_owner: str, holds: bool, says: str) -> None:
    one = limit(mode="fleet", without_owner=without_owner)
    unowned = bound(one)
    assert (unowned.holds, unowned.reason.startswith(f"no control plane owns the limit: {says}")) == (
        holds,
        True,
    )
    nodes = {f"gw-{number}": [seen("l", "jo", place="fleet", away=number > 0)] for number in range(6)}
    away = bound(one, nodes, owner="cp-1")
    assert away.holds is holds
    assert away.reason.startswith(f"the owner does not answer gw-1, gw-2, gw-3 and 2 more: {says}")


@pytest.mark.parametrize(("failure", "holds"), [("open", False), ("closed", True), ("local", False)])
def test_without_redis_the_limit_says_what_holds(failure: str, holds: bool) -> None:
    one = limit(mode="redis", on_store_failure=failure)
    assert (bound(one).holds, bound(one).reason) == (True, "counted in Redis")
    away = bound(one, {"a": [seen("l", "jo", place="redis", away=True)], "b": []})
    assert (away.holds, away.reason.startswith(f"Redis does not answer a: {failure}")) == (holds, True)


def test_what_is_not_enforced_or_can_be_overdrawn_is_said() -> None:
    assert bound(limit(enforce="shadow")).holds is False
    partly = bound(limit(enforce="25%"))
    assert (partly.holds, "25%" in partly.reason) == (False, True)
    overdrawn = bound(limit(cost_header="x-cost"))
    assert (overdrawn.holds, "overdraw" in overdrawn.reason) == (True, True)
