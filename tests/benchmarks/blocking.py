"""How long a change blocks a worker, measured in the worker's own code: `python -m tests.benchmarks.blocking`.

Builds a table of 10,000 routes, then takes in changes as `dataplane.worker` does, and times each step: in between the
worker serves. Prints medians over the changes of the longest step, in milliseconds, as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from time import monotonic, perf_counter

from dataplane.config.apply import Assembly
from dataplane.config.decode import NOTHING, Bundle, difference, read_part
from dataplane.config.table import ResourceKey
from dataplane.gateway.decide import Gateway
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.pool import Pool
from headgate_api.v1.resources_pb2 import Circuit, LoadBalancer, Resource, Route, Service, Timeouts

ROUTES = 10_000
CHANGES = 30


class _Deaf:
    def finished(self, exchange: Exchange) -> None:
        """Nothing is served here."""


class Node:
    """As much of a worker as takes changes in."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._gateway = Gateway(_Deaf(), Pool())
        self._have = NOTHING

    def move_to(self, bundle: Bundle) -> list[float]:
        """Take the change in; how long each step took, in milliseconds."""
        parts, stopwatch = list(difference(self._have, bundle)), Stopwatch()
        for data in parts:
            self._assembly.take(read_part(data))
            stopwatch.lap()
        steps = self._assembly.completing(bundle.revision, bundle.digest)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                self._gateway.swap(end.value, monotonic())
                break
            stopwatch.lap()
        stopwatch.lap()
        self._have = bundle
        return stopwatch.laps


class Stopwatch:
    """Times between two moments at which the worker would serve, in milliseconds."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self._last = perf_counter()

    def lap(self) -> None:
        """Now the worker would serve."""
        now = perf_counter()
        self.laps.append((now - self._last) * 1000)
        self._last = now


def first() -> Bundle:
    """A service and the routes."""
    resources: dict[ResourceKey, Resource] = {}
    circuit = Circuit(
        failure_threshold=5,
        failure_ratio=0.5,
        failure_window=60,
        min_throughput=2,
        recovery_timeout=30,
        half_open_timeout=10,
        half_open_requests=1,
    )
    service = Service(
        service_name="orders",
        check_path="/",
        check_interval=30,
        check_timeout=5,
        healthy_threshold=2,
        unhealthy_threshold=3,
        load_balancer=LoadBalancer.LOAD_BALANCER_ROUND_ROBIN,
        circuit=circuit,
        timeouts=Timeouts(connect=5, response=15, idle=300),
    )
    resources["service", "orders"] = Resource(name="orders", revision=1, service=service)
    for number in range(ROUTES):
        resources["route", f"r-{number}"] = _route(number, 1, 15.0)
    return Bundle(1, "1", resources)


def _route(number: int, revision: int, timeout: float) -> Resource:
    route = Route(prefix=f"/r/{number}", service_name="orders", public=True, timeout=timeout)
    return Resource(name=f"r-{number}", revision=revision, route=route)


def changed(bundle: Bundle, count: int) -> Bundle:
    """The next revision, with `count` routes changed."""
    revision = bundle.revision + 1
    routes = [_route(number, revision, float(revision)) for number in range(count)]
    touched: Mapping[ResourceKey, Resource] = {("route", route.name): route for route in routes}
    return replace(
        bundle,
        revision=revision,
        digest=str(revision),
        resources={**bundle.resources, **touched},
        base=bundle.digest,
        touched=frozenset(touched),
    )


def main() -> None:
    """Measure and print."""
    node, bundle = Node(), first()
    whole = node.move_to(bundle)
    gc.collect()
    began = perf_counter()
    gc.collect()
    collection = (perf_counter() - began) * 1000
    longest: dict[int, list[float]] = {1: [], 100: []}
    for count, pauses in longest.items():
        for _ in range(CHANGES):
            bundle = changed(bundle, count)
            pauses.append(max(node.move_to(bundle)))
    found = {
        "change_blocks_ms_10000": median(longest[1]),
        "change_100_blocks_ms_10000": median(longest[100]),
        "first_table_blocks_ms_10000": max(whole),
        "full_collection_ms_10000": collection,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
