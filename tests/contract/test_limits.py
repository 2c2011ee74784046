"""Limits from what an operator writes to what a data plane enforces."""

from __future__ import annotations

from typing import Any, cast

import pytest

from controlplane.limits import desk
from controlplane.model.capabilities import needs
from controlplane.model.rate_limit import RateLimit
from controlplane.model.resources import parse
from controlplane.model.service import Service
from controlplane.model.stored import Stamped
from controlplane.rpc.wire.resource_messages import resource
from dataplane.config.decode import decode
from dataplane.gateway.policy.leased import counts_by, terms
from dataplane.gateway.policy.resources import Limit, LimitMode, StoreFailure, coarse_limit
from headgate_api.v1 import resources_pb2 as pb

PLAIN = {"per_second": 2, "burst": 10}


def written(**fields: Any) -> RateLimit:
    return cast(RateLimit, parse("rate_limit", {"name": "l", **fields}))


def enforced(**fields: Any) -> Limit:
    """As a data plane has it, over the wire."""
    sent = resource(Stamped(written(**fields), 1)).SerializeToString()
    found = decode(pb.Resource.FromString(sent))
    assert isinstance(found, Limit)
    return found


@pytest.mark.parametrize(
    ("fields", "made"),
    [
        ({}, Limit("l", 2, 10, ("address",))),
        ({"key": "api_key"}, Limit("l", 2, 10, ("api_key",))),
        ({"key": "header", "header": "x-a"}, Limit("l", 2, 10, ("header",), "x-a")),
        ({"key": "header:x-a"}, Limit("l", 2, 10, ("header:x-a",))),
        ({"key": ["address"]}, Limit("l", 2, 10, ("address",))),
        ({"key": ["address", "claim:plan"]}, Limit("l", 2, 10, ("address", "claim:plan"))),
        ({"address_prefix": 48}, Limit("l", 2, 10, ("address",), address_prefix=48)),
        ({"cost": 5}, Limit("l", 2, 10, ("address",), cost=5)),
        ({"cost_header": "x-cost"}, Limit("l", 2, 10, ("address",), cost_header="x-cost")),
        ({"max_concurrent": 7}, Limit("l", 2, 10, ("address",), max_concurrent=7)),
        ({"enforce": "on"}, Limit("l", 2, 10, ("address",))),
        ({"enforce": True}, Limit("l", 2, 10, ("address",))),
        ({"enforce": "shadow"}, Limit("l", 2, 10, ("address",), enforced=0)),
        ({"enforce": "25%"}, Limit("l", 2, 10, ("address",), enforced=25)),
        ({"advertise": True}, Limit("l", 2, 10, ("address",), advertise=True)),
    ],
)
def test_every_field_arrives(fields: dict[str, Any], made: Limit) -> None:
    assert enforced(**PLAIN, **fields) == made


@pytest.mark.parametrize(("per", "seconds"), [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)])
def test_the_other_form_of_a_rate(per: str, seconds: int) -> None:
    assert enforced(requests=100, per=per) == Limit("l", 100 / seconds, 100, ("address",))
    assert enforced(requests=100, per=per, burst=5) == Limit("l", 100 / seconds, 5, ("address",))


def test_requests_under_way_need_no_rate() -> None:
    assert enforced(max_concurrent=3) == Limit("l", 0, 0, ("address",), max_concurrent=3)


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"key": "route"}, False),
        ({"key": ["subject"]}, False),
        ({"advertise": True, "enforce": "on", "cost": 1, "address_prefix": 64}, False),
        ({"key": "api_key"}, True),
        ({"key": "header:x-a"}, True),
        ({"key": ["address", "subject"]}, True),
        ({"address_prefix": 48}, True),
        ({"cost": 2}, True),
        ({"cost_header": "x-cost"}, True),
        ({"max_concurrent": 5}, True),
        ({"enforce": "99%"}, True),
    ],
)
def test_older_data_planes_are_not_given_what_they_would_ignore(fields: dict[str, Any], needed: bool) -> None:
    assert {need.capability for need in needs(written(**PLAIN, **fields))} == (
        {"limits.full"} if needed else set()
    )


def test_a_limit_in_redis() -> None:
    found = enforced(requests=10, per="hour", mode="redis", on_store_failure="closed")
    assert found == Limit(
        "l",
        10 / 3600,
        10,
        ("address",),
        mode=LimitMode.REDIS,
        on_store_failure=StoreFailure.CLOSED,
    )
    assert {need.capability for need in needs(written(**PLAIN, mode="redis"))} == {"limits.redis"}
    assert needs(written(**PLAIN, on_store_failure="closed")) == ()


def test_a_limit_of_the_fleet() -> None:
    found = enforced(**PLAIN, mode="fleet", without_owner="strict")
    assert found == Limit("l", 2, 10, ("address",), mode=LimitMode.FLEET, without_owner="strict")
    assert {need.capability for need in needs(written(**PLAIN, mode="fleet"))} == {"limits.fleet"}
    assert needs(written(**PLAIN, without_owner="strict")) == ()


def test_both_planes_mean_the_same_limit_of_the_settings() -> None:
    ((name, (by, owned)),) = desk.coarse_limit(12.5, 40).items()
    leased = coarse_limit(12.5, 40, "fleet")
    assert leased is not None
    assert (leased.name, counts_by(leased), terms(leased, 1)) == (name, by, owned)


def test_a_bounded_service_is_not_given_to_older_data_planes_either() -> None:
    service = cast(Service, parse("service", {"service_name": "s", "max_in_flight": 5}))
    assert [need.field for need in needs(service)] == ["max_in_flight"]
    assert needs(cast(Service, parse("service", {"service_name": "s"}))) == ()
    assert resource(Stamped(service, 1)).service.max_in_flight == 5
