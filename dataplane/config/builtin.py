"""Built-in resources of every table: the node's own status, reachable through the traffic port.

They are an ordinary service, instance and routes, so that the request path needs no special case. Their names begin
with BUILTIN, which no resource of the configuration can have, so neither can replace or join the other. Only the
listener of the settings serves them: a public one must not show metrics. A route of the configuration with the path of
a built-in one, for every host, replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.config.items import Item, ResourceKey, ResourceSet, UnlinkedRoute, key_of
from dataplane.config.listeners import attaches
from dataplane.gateway.policy.resources import (
    BUILTIN,
    DEFAULT_LISTENER,
    Circuit,
    Instance,
    Route,
    Service,
    Timeouts,
)

STATUS_SERVICE = f"{BUILTIN}status"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - translated from, not bound


def status_paths(*, expose_metrics: bool) -> frozenset[str]:
    """The paths of the status server that the traffic port has too."""
    return frozenset({"/health", "/metrics"} if expose_metrics else {"/health"})


def status_items(host: str, port: int, *, expose_metrics: bool) -> tuple[Item, ...]:
    """Resources that route `status_paths` to the status server at this address."""
    items: list[Item] = [
        Service(
            STATUS_SERVICE,
            # A 503 from /health is about the node, not about the status server: it must not open the breaker.
            circuit=Circuit(failure_threshold=1_000_000_000),
            timeouts=Timeouts(connect=2.0, response=5.0, idle=60.0),
        ),
        Instance(STATUS_SERVICE, "self", _ANY_ADDRESS.get(host, host), port),
    ]
    for path in sorted(status_paths(expose_metrics=expose_metrics)):
        items.append(UnlinkedRoute(_status_route(f"{BUILTIN}{path[1:]}", path)))
    return tuple(items)


def _status_route(name: str, path: str) -> Route:
    methods = frozenset({"GET", "HEAD"})
    return Route(
        name,
        STATUS_SERVICE,
        path=path,
        methods=methods,
        public=True,
        max_body_bytes=1024,
        listeners=(DEFAULT_LISTENER,),
    )


class Builtin:
    """Adds the built-in resources to those of the configuration, whenever these change."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = {key_of(item): item for item in items}
        self._paths = {item.route.path for item in self._items.values() if isinstance(item, UnlinkedRoute)}

    def routes_in(self, resources: ResourceSet) -> int:
        """Number of built-in routes."""
        return sum(kind == "route" and name in resources.route for kind, name in self._items)

    def join(
        self, resources: ResourceSet, touched: set[ResourceKey], replaced: dict[str, str | None]
    ) -> dict[str, str | None]:
        """Add or remove built-in items in `resources`, and note in `touched` which.

        `replaced`: path by name of the configuration's routes that replaced built-in ones before this change. Returns
        the value after this change.
        """
        if any(kind == "route" for kind, _ in touched):
            replaced = self._replaced(resources, touched, replaced)
        paths = set(replaced.values())
        for key, item in self._items.items():
            wanted = not (isinstance(item, UnlinkedRoute) and item.route.path in paths)
            found = resources.get(key) is not None
            if wanted and not found:
                resources.put(key, item)
                touched.add(key)
            elif found and not wanted:
                resources.remove(key)
                touched.add(key)
        return replaced

    def _replaced(
        self, resources: ResourceSet, touched: Iterable[ResourceKey], replaced: dict[str, str | None]
    ) -> dict[str, str | None]:
        now = dict(replaced)
        for kind, name in touched:
            if kind == "route":
                now.pop(name, None)
                entry = resources.route.get(name)
                if entry is not None and self._replaces(entry):
                    now[name] = entry.route.path
        return now

    def _replaces(self, entry: UnlinkedRoute) -> bool:
        route = entry.route
        everywhere = not route.hosts and route.conditions is None and attaches(route, DEFAULT_LISTENER)
        return route.path in self._paths and everywhere and not route.name.startswith(BUILTIN)
