"""What every table holds beside the configuration: the node's own status, reachable through the traffic port.

It is an ordinary service with an ordinary instance and ordinary routes, so that the request path knows no special
case. An operator's route that matches the same requests takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.config.table import Item, Resources, UnlinkedRoute, key_of
from dataplane.policy.resources import Circuit, Instance, Route, Service, Timeouts

STATUS_SERVICE = "headgate-status"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not bound to, translated from


def status_items(host: str, port: int, *, expose_metrics: bool) -> tuple[Item, ...]:
    """`GET /health`, and `GET /metrics` where wanted, led to the status server at this address."""
    items: list[Item] = [
        Service(
            STATUS_SERVICE,
            # The answers are this process's own: their status says something about the node, not about the server.
            circuit=Circuit(failure_threshold=1_000_000_000),
            timeouts=Timeouts(connect=2.0, response=5.0, idle=60.0),
        ),
        Instance(STATUS_SERVICE, "self", _ANY_ADDRESS.get(host, host), port),
        UnlinkedRoute(_status_route("headgate-health", "/health")),
    ]
    if expose_metrics:
        items.append(UnlinkedRoute(_status_route("headgate-metrics", "/metrics")))
    return tuple(items)


def _status_route(name: str, path: str) -> Route:
    methods = frozenset({"GET", "HEAD"})
    return Route(name, STATUS_SERVICE, path=path, methods=methods, public=True, max_body_bytes=1024)


def with_builtin(resources: Resources, items: Iterable[Item]) -> Resources:
    """A copy of `resources` with the built-in ones added."""
    merged = resources.copy()
    paths = {entry.route.path for entry in resources.route.values() if not entry.route.hosts}
    for item in items:
        if not (isinstance(item, UnlinkedRoute) and item.route.path in paths):
            merged.put(key_of(item), item)
    return merged
