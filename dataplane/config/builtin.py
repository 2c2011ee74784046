"""What every table holds beside the configuration: the node's own status, reachable through the traffic port.

It is an ordinary service with an ordinary instance and ordinary routes, so that the request path knows no special
case. An operator's route to the same path, for every host, takes its place; so does anything of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.config.items import Item, ResourceKey, Resources, UnlinkedRoute, key_of
from dataplane.gateway.policy.resources import Circuit, Instance, Route, Service, Timeouts

STATUS_SERVICE = "headgate-status"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to, translated from


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


class Builtin:
    """Keeps built-in items in resources that are changed by others."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = {key_of(item): item for item in items}
        self._paths = {item.route.path for item in self._items.values() if isinstance(item, UnlinkedRoute)}

    def routes_in(self, resources: Resources) -> int:
        """How many of the routes are built in."""
        return sum(
            kind == "route" and resources.get((kind, name)) is item
            for (kind, name), item in self._items.items()
        )

    def join(
        self, resources: Resources, touched: set[ResourceKey], taken: dict[str, str | None]
    ) -> dict[str, str | None]:
        """Bring the items into changed `resources`, or out of them, and add to `touched` what that changes.

        `taken` says which operators' routes stood in the place of built-in ones before, path by name; returned is
        which do so now.
        """
        if any(kind == "route" for kind, _ in touched):
            taken = self._taken(resources, touched, taken)
        paths = set(taken.values())
        for key, item in self._items.items():
            wanted = not (isinstance(item, UnlinkedRoute) and item.route.path in paths)
            found = resources.get(key)
            if wanted and found is None:
                resources.put(key, item)
                touched.add(key)
            elif not wanted and found is item:
                resources.remove(key)
                touched.add(key)
        return taken

    def _taken(
        self, resources: Resources, touched: Iterable[ResourceKey], taken: dict[str, str | None]
    ) -> dict[str, str | None]:
        now = dict(taken)
        for kind, name in touched:
            if kind == "route":
                now.pop(name, None)
                entry = resources.route.get(name)
                if entry is not None and self._stands_in(entry):
                    now[name] = entry.route.path
        return now

    def _stands_in(self, entry: UnlinkedRoute) -> bool:
        route = entry.route
        return route.path in self._paths and not route.hosts and entry not in self._items.values()
