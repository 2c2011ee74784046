"""Mirrors of routes, from the wire and into the table."""

from __future__ import annotations

import pytest

from dataplane.config.decode import decode
from dataplane.config.table import ResourceSet, TableError, UnlinkedRoute, build
from dataplane.gateway.policy.forwarding import Forwarding, Mirror
from dataplane.gateway.policy.resources import Service
from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire


def route(*mirrors: pb.Mirror) -> UnlinkedRoute:
    item = decode(wire.route("orders", "orders", mirrors=mirrors))
    assert isinstance(item, UnlinkedRoute)
    return item


def test_mirrors() -> None:
    made = route(
        pb.Mirror(service_name="a", percentage=12.5), pb.Mirror(service_name="b", percentage=100)
    ).route
    assert made.forwarding == Forwarding(mirrors=(Mirror("a", 12.5), Mirror("b", 100.0)))
    assert (made.services, made.mirrored_to) == (("orders",), ("a", "b"))
    assert route().route.forwarding is None


@pytest.mark.parametrize("mirror", [pb.Mirror(), pb.Mirror(service_name="a", percentage=101)])
def test_a_mirror_that_cannot_be_used_closes_its_route(mirror: pb.Mirror) -> None:
    forwarding = route(mirror).route.forwarding
    assert forwarding is not None and "mirrors[0]." in forwarding.unusable


def test_the_service_of_a_mirror_exists() -> None:
    made = route(pb.Mirror(service_name="a", percentage=1))
    with pytest.raises(TableError) as caught:
        build(ResourceSet.of(Service("orders"), made))
    (problem,) = caught.value.problems
    assert (problem.resource, problem.field) == ("route/orders", "mirrors[0].service_name")
    assert build(ResourceSet.of(Service("orders"), Service("a"), made)).routes["orders"].mirrored_to == ("a",)
