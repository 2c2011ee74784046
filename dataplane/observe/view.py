"""The state of a node that status endpoints and metrics show: one plain value, built on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dataplane.config.reports import CircuitStats, InstanceHealth, InstanceStatus
from dataplane.config.table import Table
from dataplane.gateway.policy.resources import Limit, LimitMode, Listener, Route
from dataplane.observe.stats import Totals
from dataplane.proxy import address


@dataclass(frozen=True, slots=True)
class RedisView:
    """The Redis that limits are counted in."""

    since: float
    """Time at which it last ceased to answer, Unix seconds; 0 while it answers, or if none was configured."""
    problem: str
    """The reason it does not answer, or refuses limits; empty while all is well. Names the server."""
    lacks: str = ""
    """The rule that the ACL of our user lacks: it answers, and refuses."""
    denied: bool = False
    """It refuses our user or password."""

    @property
    def connected(self) -> bool:
        """Whether it answers."""
        return not self.problem or bool(self.lacks)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node at one moment."""

    node: str
    version: str
    revision: int
    """The revision that every worker serves; 0 for none."""
    digest: str
    lineage: str
    """Id of the store that the configuration was read from; empty when unknown."""
    epoch: int
    table: Table
    instances: tuple[InstanceHealth, ...]
    circuits: tuple[CircuitStats, ...]
    ejected: Mapping[str, int]
    """How many workers have ejected an instance, by "<service>/<id>"."""
    totals: Totals
    workers: int
    """Running workers."""
    workers_wanted: int
    worker_restarts: int
    connections: int
    in_flight: int
    """Forwarded requests that have not ended."""
    controlplane: str
    """Address of the control plane the config stream is open to; empty for none."""
    controlplane_problem: str
    rejections: int
    mismatches: int
    """Deltas whose base or digest did not match; each was replaced by a snapshot."""
    cache_warnings: int
    cache_problem: str
    draining: bool
    not_ready: str
    """The reason the node is not ready; empty when it is."""
    away: Mapping[str, int] = field(default_factory=dict)
    """How many workers are without the owner of a limit, or without Redis, by limit."""
    listeners: tuple[tuple[str, int, str], ...] = ()
    """Name and port of each listener of the configuration, and the reason why it is not open; empty when it is."""
    redis: RedisView | None = None
    """None where no limit is counted in Redis."""
    telemetry: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of OpenTelemetry, by signal: items that the collector has taken, and items that were lost."""
    certificate_problems: Mapping[str, str] = field(default_factory=dict)
    """The reason why the files of a certificate cannot be used as they are now, by its name."""


def health_document(view: NodeView) -> dict[str, Any]:
    """GET /health: also answered on the traffic port, so it names services but no addresses."""
    return {
        "status": _status(view),
        "node": view.node,
        "version": view.version,
        "revision": view.revision,
        "workers": {"running": view.workers, "wanted": view.workers_wanted, "restarts": view.worker_restarts},
        "controlplane": {"connected": bool(view.controlplane)},
        **_redis(view),
        "services": _services(view),
        "circuits": {
            circuit.service: {"state": circuit.state, "reason": circuit.reason} for circuit in view.circuits
        },
        "problems": list(_problems(view)),
    }


def _redis(view: NodeView) -> dict[str, Any]:
    """The time since which Redis does not answer. The reason would reveal its address: the log and /debug/config state
    it."""
    redis = view.redis
    if redis is None:
        return {}
    since = {"since": _iso(redis.since)} if redis.problem and redis.since else {}
    lacks = {"acl_lacks": redis.lacks} if redis.lacks else {}
    refused = {"refused": "credentials"} if redis.denied else {}
    return {"redis": {"connected": redis.connected, **lacks, **refused, **since}}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _status(view: NodeView) -> str:
    if view.draining:
        return "draining"
    if view.not_ready:
        return "starting"
    return "degraded" if any(_problems(view)) else "ok"


def _problems(view: NodeView) -> Iterator[str]:
    if view.not_ready:
        yield view.not_ready
    if not view.controlplane:
        yield f"not connected to a control plane: still serving revision {view.revision}"
    if view.cache_problem:
        yield "the configuration cache cannot be written or read"
    if view.redis is not None and view.redis.problem:
        since = f", since {_iso(view.redis.since)}" if view.redis.since else ": REDIS_HOST is not set"
        if view.redis.lacks:
            yield f"Redis refuses limits: the ACL of the gateway's user lacks {view.redis.lacks}{since}"
        elif view.redis.denied:
            yield f"Failed to connect to Redis: it refuses the gateway's user or password{since}"
        else:
            yield f"Failed to connect to Redis{since}"
    for name, port, closed in view.listeners:
        if closed:
            yield f"listener {name} is not served on port {port}"
    for name in sorted(view.certificate_problems):
        yield f"the files of certificate {name} cannot be used: those read last stay in use"
    if view.workers < view.workers_wanted:
        yield f"{view.workers} of {view.workers_wanted} workers run"
    for circuit in view.circuits:
        if circuit.state != "closed":
            yield f"{circuit.service}: circuit is {circuit.state.replace('_', ' ')}: {circuit.reason}"
    for service, counts in _services(view).items():
        if counts["total"] and not counts["healthy"]:
            yield f"{service}: no healthy instance"


def _services(view: NodeView) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for instance in view.instances:
        count = counts.setdefault(instance.service, {"healthy": 0, "total": 0})
        count["total"] += 1
        count["healthy"] += instance.status is InstanceStatus.HEALTHY
    return dict(sorted(counts.items()))


def config_document(view: NodeView) -> dict[str, Any]:
    """GET /debug/config: the applied configuration, without secrets."""
    table = view.table
    return {
        "revision": view.revision,
        "digest": view.digest,
        "lineage": view.lineage,
        "epoch": view.epoch,
        "controlplane": view.controlplane,
        "controlplane_problem": view.controlplane_problem,
        "cache_problem": view.cache_problem,
        **({"redis_problem": view.redis.problem} if view.redis is not None else {}),
        "listeners": {name: _listener(view, listener) for name, listener in sorted(table.listeners.items())},
        "certificates": {
            name: {
                "names": list(one.served.names),
                "not_after": _iso(one.not_after),
                "from_files": one.from_files,
                "problem": view.certificate_problems.get(name, ""),
            }
            for name, one in sorted(table.certificates.items())
        },
        "routes": {name: _route(route) for name, route in sorted(table.routes.items())},
        "services": {
            name: {"load_balancer": service.load_balancer.value, "instances": _instances(view, table, name)}
            for name, service in sorted(table.services.items())
        },
        "rate_limits": {name: _limit(limit) for name, limit in sorted(table.limits.items())},
        "users": sorted(table.users),
        "keys": [{"id": key.id, "issuer": key.issuer, "audience": key.audience} for key in table.keys],
    }


def _listener(view: NodeView, listener: Listener) -> dict[str, Any]:
    problem = next((closed for name, _, closed in view.listeners if name == listener.name), "")
    return {
        "port": listener.port,
        "protocol": listener.protocol,
        "hostnames": list(listener.hostnames),
        "certificates": list(listener.certificates),
        "client_certificate": listener.client_certificate,
        "open": not problem,
        "problem": problem,
    }


def _route(route: Route) -> dict[str, Any]:
    shown: Mapping[str, Any] = {
        "prefix": route.prefix,
        "path": route.path,
        "hosts": list(route.hosts),
        "methods": sorted(route.methods),
        "service_name": route.service or None,
        "services": list(route.services) if not route.service else [],
        "authorize_with": route.asked or None,
        "scopes": sorted(route.scopes),
        "public": route.public,
        "listeners": list(route.listeners),
        "rate_limits": [limit.name for limit in route.limits],
    }
    return {name: value for name, value in shown.items() if value not in (None, [], False)}


def _limit(limit: Limit) -> dict[str, Any]:
    shown: Mapping[str, Any] = {
        "per_second": limit.per_second,
        "burst": limit.burst,
        "key": ",".join(limit.key),
        "header": limit.header,
        "cost": limit.cost if limit.cost != 1 else None,
        "cost_header": limit.cost_header,
        "max_concurrent": limit.max_concurrent or None,
        "enforced_percent": limit.enforced if limit.enforced != 100 else None,
        "advertise": limit.advertise,
        "mode": limit.mode.value if limit.mode is not LimitMode.LOCAL else None,
        "without_owner": limit.without_owner if limit.mode is LimitMode.FLEET else None,
        "on_store_failure": limit.on_store_failure.value if limit.mode is LimitMode.REDIS else None,
    }
    return {name: value for name, value in shown.items() if value not in (None, "", False)}


def _instances(view: NodeView, table: Table, service: str) -> dict[str, Any]:
    known = {(health.service, health.id): health for health in view.instances}
    shown: dict[str, dict[str, Any]] = {}
    for instance in table.instances[service]:
        found = known.get((service, instance.id))
        shown[instance.id] = {
            "address": address.shown(instance.host, instance.port),
            "weight": instance.weight,
            "status": found.status.value if found is not None else "healthy",
            "last_check": found.last_check if found is not None else 0.0,
            "reason": found.reason if found is not None else "",
        }
        if workers := view.ejected.get(f"{service}/{instance.id}"):
            shown[instance.id]["ejected_by_workers"] = workers
    return shown
