"""What watchers want to see, put together and taken apart again."""

from __future__ import annotations

from controlplane.rpc.interests import Interest, Interests
from headgate_api.v1 import registry_pb2 as pb

ALL = Interest.of(pb.WatchRequest())
ROUTES = Interest.of(pb.WatchRequest(without_services=True, without_circuits=True))
ORDERS = Interest.of(pb.WatchRequest(services=["orders"], without_circuits=True))


def test_a_name_is_watched_as_long_as_one_watcher_asks_for_it() -> None:
    interests = Interests()
    assert not interests.covers(("service", "orders"))
    assert interests.add(ORDERS) and not interests.add(ORDERS)
    assert interests.covers(("service", "orders")) and interests.covers(("route", "r"))
    assert not interests.covers(("service", "payments")) and not interests.covers(("circuit", "orders"))
    assert not interests.wants_all("service") and interests.named == [("service", "orders")]
    assert interests.add(ALL)
    assert interests.wants_all("service") and interests.covers(("circuit", "payments"))
    assert interests.remove(ALL)
    assert not interests.covers(("circuit", "payments"))
    assert not interests.remove(ORDERS) and interests.covers(("service", "orders"))
    assert interests.remove(ORDERS)
    assert not interests.covers(("service", "orders")) and not interests.covers(("route", "r"))
    assert not interests.watchers and not interests.different and not interests.named


def test_names_limit_services_and_circuits_only() -> None:
    assert ORDERS.covers(("service", "orders")) and not ORDERS.covers(("service", "payments"))
    assert ORDERS.covers(("route", "any")) and not ORDERS.covers(("circuit", "orders"))
    assert ROUTES.covers(("route", "any")) and not ROUTES.covers(("service", "orders"))
