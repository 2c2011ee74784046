"""Instances that leave: who counts as leaving, and when the last request there has ended."""

from __future__ import annotations

from dataclasses import replace

from dataplane.gateway.policy.resources import Instance
from dataplane.proxy.pool import Endpoint, Pool

A = Instance(service="orders", id="a", host="10.0.0.1", port=80)
B = Instance(service="orders", id="b", host="10.0.0.2", port=80)


class Scene:
    """A pool, and how often it said that an instance was left."""

    def __init__(self, *instances: Instance) -> None:
        self.pool = Pool()
        self.pool.left = self._left
        self.lefts = 0
        self.pool.change("orders", instances)

    def _left(self) -> None:
        self.lefts += 1

    def begin(self, instance: Instance, count: int = 1) -> Endpoint:
        endpoint = self.pool.endpoint(instance)
        endpoint.in_flight += count
        return endpoint

    def end(self, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        if endpoint.leaving:
            self.pool.settle(endpoint)


def test_draining_ends_with_the_last_request() -> None:
    scene = Scene(A, B)
    endpoint = scene.begin(A, 2)
    scene.begin(B)
    assert scene.pool.leaving() == {}
    scene.pool.change("orders", [replace(A, draining=True), B])
    assert scene.pool.leaving() == {"orders/a": 2}
    scene.end(endpoint)
    assert (scene.pool.leaving(), scene.lefts) == ({"orders/a": 1}, 0)
    scene.end(endpoint)
    assert (scene.pool.leaving(), scene.lefts) == ({}, 1)


def test_an_idle_instance_has_nothing_to_wait_for() -> None:
    scene = Scene(A)
    scene.pool.change("orders", [replace(A, draining=True)])
    assert scene.pool.leaving() == {}
    scene.pool.change("orders", [])
    assert scene.pool.leaving() == {}
    assert scene.lefts == 0


def test_removal_counts_like_draining_and_outlives_further_changes() -> None:
    scene = Scene(A)
    endpoint = scene.begin(A)
    scene.pool.change("orders", [])
    scene.pool.change("orders", [B])
    scene.pool.change("orders", [])
    assert scene.pool.leaving() == {"orders/a": 1}
    scene.end(endpoint)
    assert (scene.pool.leaving(), scene.lefts) == ({}, 1)


def test_an_instance_that_moved_leaves_its_old_address() -> None:
    scene = Scene(A)
    old = scene.begin(A)
    moved = replace(A, port=81)
    scene.pool.change("orders", [moved])
    new = scene.begin(moved)
    assert scene.pool.leaving() == {"orders/a": 1}
    scene.pool.change("orders", [replace(moved, draining=True)])
    assert scene.pool.leaving() == {"orders/a": 2}
    scene.end(old)
    scene.end(new)
    assert (scene.pool.leaving(), scene.lefts) == ({}, 2)


def test_one_that_takes_requests_again_is_not_leaving() -> None:
    scene = Scene(A)
    endpoint = scene.begin(A)
    scene.pool.change("orders", [replace(A, draining=True)])
    scene.pool.change("orders", [A])
    assert scene.pool.leaving() == {}
    scene.end(endpoint)
    assert scene.lefts == 0


def test_requests_in_flight_count_at_instances_that_serve_drain_or_are_gone() -> None:
    scene = Scene(A, B)
    gone, draining = scene.begin(A, 2), scene.begin(B, 3)
    assert scene.pool.in_flight() == 5
    scene.pool.change("orders", [replace(B, draining=True)])
    assert scene.pool.in_flight() == 5
    scene.end(draining)
    scene.end(gone)
    scene.end(gone)
    assert scene.pool.in_flight() == 2
    scene.pool.change("orders", [])
    assert scene.pool.in_flight() == 2
