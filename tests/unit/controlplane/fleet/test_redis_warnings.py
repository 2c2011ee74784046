"""Limits in Redis are applied with a warning while data planes have none."""

from __future__ import annotations

from controlplane.fleet.redis_warnings import without_redis
from controlplane.fleet.reports import NodeState

DOCUMENT = {"rate_limits": [{"name": "a", "mode": "local"}, {"name": "b", "mode": "redis"}, {"name": "c"}]}


def node(name: str, *, lacks: bool, connected: bool = True) -> NodeState:
    return NodeState(name, "1.0.0", connected, without_redis=lacks)


def warned(*nodes: NodeState) -> list[tuple[str, str]]:
    return [(one.field, one.detail) for one in without_redis(DOCUMENT, nodes)]


def test_no_data_plane_has_one() -> None:
    lacking = (
        "no connected data plane has a Redis (REDIS_HOST, REDIS_URL): on_store_failure decides what passes"
    )
    found = warned(node("a", lacks=True), node("b", lacks=True), node("c", lacks=False, connected=False))
    assert found == [("rate_limits[1].mode", lacking)]


def test_some_data_planes_have_none() -> None:
    ((_, detail),) = warned(*(node(f"gw-{number}", lacks=number < 5) for number in range(7)))
    assert detail.startswith("no Redis (REDIS_HOST, REDIS_URL) at gw-0, gw-1, gw-2 and 2 more: ")


def test_all_have_one_or_none_is_known() -> None:
    assert warned(node("a", lacks=False)) == []
    assert warned() == []


def test_documents_without_such_limits() -> None:
    lacking = [node("a", lacks=True)]
    for limits in ([], None, [{"name": "a", "mode": "fleet"}]):
        assert not list(without_redis({"rate_limits": limits}, lacking))
    assert not list(without_redis({"routes": []}, lacking))
