"""What goes on when parts of a real gateway are down, and what happens when they return. Each test brings back what it
has taken."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from demo.processes import START_TIMEOUT, DataPlane, answers, wait_until
from demo.world import World
from tests.support.waiting import eventually_now

CATCH_UP = 2.0
"""Seconds within which a data plane has to follow a control plane that returned."""


def get(dataplane: DataPlane, path: str, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(dataplane.url + path, headers=headers, timeout=5, trust_env=False)


def token(world: World) -> str:
    form = {"username": "testuser", "password": "testpass"}
    answer = httpx.post(f"{world.controlplane.url}/api/v1/auth/token", data=form, trust_env=False)
    return str(answer.raise_for_status().json()["access_token"])


def live_route(name: str) -> dict[str, Any]:
    return {"routes": [{"name": name, "prefix": f"/{name}", "service_name": "orders", "public": True}]}


@pytest.fixture
def admin(world: World) -> Iterator[httpx.Client]:
    with world.controlplane.admin() as client:
        yield client


def serving(dataplane: DataPlane, path: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return get(dataplane, path).status_code == 200
    return False


def instances_of(world: World, service: str) -> set[str]:
    answer = httpx.get(f"{world.controlplane.url}/api/v1/services", trust_env=False).raise_for_status()
    return next(set(found["instances"]) for found in answer.json() if found["service_name"] == service)


def test_a_data_plane_that_cannot_use_a_config_says_why_and_serves_on(world: World) -> None:
    small = DataPlane(
        world.controlplane.grpc, world.controlplane.secrets, "small", settings={"MAX_ROUTES": "6"}
    )
    world.processes["small"] = small.start(world.folder / "run")
    with world.controlplane.admin() as admin:
        for number in range(8):
            admin.post("/api/v1/apply", json=live_route(f"live{number}")).raise_for_status()

    def rejection() -> Any:
        answer = httpx.get(f"{world.controlplane.url}/api/v1/dataplanes", trust_env=False)
        nodes = {node["node"]: node for node in answer.json()}
        return nodes["small"]["last_rejection"]

    rejected = eventually_now(rejection)
    assert "MAX_ROUTES" in str(rejected["problems"])
    assert get(small, "/public").status_code in (200, 429)
    assert get(small, "/live7").status_code == 404
    assert serving(world.dataplanes[0], "/live7")
    world.processes.pop("small").stop()


def test_wrong_configuration_is_refused_as_a_whole(world: World, admin: httpx.Client) -> None:
    before = httpx.get(f"{world.dataplanes[0].status_url}/debug/config", trust_env=False).json()
    document = {
        "services": [{"service_name": "fine"}, {"service_name": "odd", "check_interval": -1}],
        "routes": [
            {"name": "a", "prefix": "/a", "service_name": "nowhere", "scopes": ["no:scope"]},
            {"name": "b", "prefix": "no-slash", "service_name": "fine", "colour": "red"},
        ],
    }
    answer = admin.post("/api/v1/apply", json=document)
    assert answer.status_code == 400
    fields = {error["field"] for error in answer.json()["errors"]}
    assert {"services[1].check_interval", "routes[1].prefix", "routes[1].colour"} <= fields
    assert admin.get("/api/v1/config/services/fine").status_code == 404
    after = httpx.get(f"{world.dataplanes[0].status_url}/debug/config", trust_env=False).json()
    assert after["digest"] == before["digest"]

    dangling = {"routes": [document["routes"][0]]}
    answer = admin.post("/api/v1/apply", json=dangling)
    assert {error["field"] for error in answer.json()["errors"]} == {
        "routes[0].service_name",
        "routes[0].scopes[0]",
    }


def test_a_data_plane_without_anything_is_not_ready(world: World) -> None:
    alone = DataPlane("127.0.0.1:9", world.controlplane.secrets, "alone")
    process = alone.start(world.folder / "run", wait=False)
    world.processes["alone"] = process
    wait_until(answers(f"{alone.status_url}/health"), process, START_TIMEOUT)
    assert httpx.get(f"{alone.status_url}/ready", trust_env=False).status_code == 503
    eventually_now(lambda: get(alone, "/orders").status_code == 503)
    world.processes.pop("alone").stop()


def test_a_service_killed_without_goodbye_leaves_when_its_lease_ends(world: World) -> None:
    world.processes["orders-1"].kill()
    eventually_now(lambda: instances_of(world, "orders") == {"orders-2"}, within=30)
    world.restart("orders-1")


def test_etcd_gone_and_back(world: World, admin: httpx.Client) -> None:
    held = token(world)
    run = world.folder / "run"
    world.processes["etcd"].kill()

    begun = time.monotonic()
    refused = admin.post("/api/v1/apply", json=live_route("meanwhile"))
    assert refused.status_code == 503
    assert "etcd" in refused.json()["detail"]
    assert time.monotonic() - begun < 10
    for dataplane in world.dataplanes:
        assert get(dataplane, "/orders", held).status_code == 200

    world.processes["etcd"] = world.etcd.start(run)
    eventually_now(
        lambda: admin.post("/api/v1/apply", json=live_route("after")).status_code == 200, within=30
    )
    for dataplane in world.dataplanes:
        eventually_now(partial(serving, dataplane, "/after"), within=CATCH_UP + 5)
        assert get(dataplane, "/meanwhile").status_code == 404
    eventually_now(lambda: instances_of(world, "orders") == {"orders-1", "orders-2"}, within=30)


def test_control_plane_gone_and_back(world: World) -> None:
    held = token(world)
    first, second = world.dataplanes
    run = world.folder / "run"
    world.processes["controlplane"].kill()
    assert get(first, "/orders", held).status_code == 200

    # Restarted meanwhile, it serves the last good configuration from its disk.
    world.processes[second.name].stop()
    world.processes[second.name] = second.start(run)
    eventually_now(lambda: get(second, "/orders", held).status_code == 200)

    world.processes["controlplane"] = world.controlplane.start(run)
    with world.controlplane.admin() as admin:
        admin.post("/api/v1/apply", json=live_route("returned")).raise_for_status()
    for dataplane in world.dataplanes:
        eventually_now(partial(serving, dataplane, "/returned"), within=CATCH_UP)
