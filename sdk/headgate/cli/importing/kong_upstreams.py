"""Services, upstreams and targets of Kong as services with static instances."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from headgate.cli.importing.draft import Draft
from headgate.cli.importing.kong_tags import labels
from headgate.cli.importing.notes import Unusable
from headgate.cli.importing.values import (
    entries,
    host_name,
    mapping,
    network,
    number,
    objects,
    path_text,
    seconds,
    text,
    whole,
)

_PROBED: Final = "has no active health check: it is probed at /health; set its check_path"
_FIELDS: Final = frozenset(
    {
        *("name", "id", "url", "protocol", "host", "port", "path", "connect_timeout", "read_timeout"),
        *("retries", "tags", "enabled", "routes", "plugins", "created_at", "updated_at"),
        *("tls_verify", "tls_verify_depth", "client_certificate", "ca_certificates"),
    }
)
_OF_UPSTREAMS: Final = frozenset(
    {
        *("name", "id", "algorithm", "hash_on", "healthchecks", "host_header", "targets", "slots", "tags"),
        *("created_at", "updated_at"),
    }
)
_MILLISECONDS: Final = 60_000
"""Kong's time-outs of a service, where it has none of its own."""


def expanded(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """The service with the parts of `url` as fields of their own. Raises ValueError."""
    if not (url := text(service.get("url"))):
        return service
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        "protocol": parts.scheme,
        "host": parts.hostname,
        "port": port,
        "path": parts.path or None,
        **service,
    }


class Services:
    """Makes services; `upstreams` by name, each with its place."""

    def __init__(self, draft: Draft, upstreams: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        self._draft = draft
        self._notes = draft.notes
        self._upstreams = upstreams

    def add(self, service: Mapping[str, Any], place: str) -> str:
        """Add a service, and return its name. Raises Unusable."""
        protocol, host = text(service.get("protocol"), "http"), text(service.get("host"))
        if protocol not in ("http", "https"):
            raise Unusable(f"{place}.protocol", f"services of {protocol}")
        self._notes.unknown(place, service, _FIELDS)
        name = self._draft.name("services", text(service.get("name")) or host or "service")
        made = {
            "service_name": name,
            "timeouts": _timeouts(service),
            "retries": self._retries(service, place),
        }
        made["labels"] = labels(service, place, self._notes)
        where, upstream = self._upstreams.get(host, ("", {}))
        made |= self._balanced(name, upstream, where) if where else self._alone(name, service, place)
        if protocol == "https":
            made["tls"] = self._tls(service, upstream, place)
        self._draft.add("services", made)
        return name

    def _alone(self, name: str, service: Mapping[str, Any], place: str) -> dict[str, Any]:
        default = 443 if service.get("protocol") == "https" else 80
        port = whole(service.get("port"), default, 1, 65_535)
        self._notes.changed(place, _PROBED)
        instance = self._instance(f"{name}-1", text(service.get("host")), port, f"{place}.host")
        return {"instances": [instance] if instance else []}

    def _instance(self, name: str, host: str, port: int, place: str) -> dict[str, Any] | None:
        address = host.strip("[]")
        if host_name(address) is None and (network(address) is None or "/" in address):
            self._notes.left_out(place, f"{host[:80]!r} is no host name or address")
            return None
        return {"instance_id": name, "host": address, "port": port}

    def _tls(self, service: Mapping[str, Any], upstream: Mapping[str, Any], place: str) -> dict[str, Any]:
        if service.get("tls_verify") is not True:
            self._notes.changed(
                place, "certificates of instances are verified, which tls_verify does not ask for"
            )
        for field in ("client_certificate", "ca_certificates", "tls_verify_depth"):
            if service.get(field):
                self._notes.left_out(
                    f"{place}.{field}", "set tls.ca of the service, or UPSTREAM_CERT of the data planes"
                )
        made: dict[str, Any] = {"enabled": True}
        if server_name := host_name(upstream.get("host_header")):
            made["server_name"] = server_name
        return made

    def _retries(self, service: Mapping[str, Any], place: str) -> dict[str, Any]:
        wanted = whole(service.get("retries"), 5, 0, 32_767)
        if wanted > 3:
            self._notes.once(place, "requests are sent again at most 3 times, and only where that is safe")
        return {"attempts": min(wanted, 3)}

    def _balanced(self, name: str, upstream: Mapping[str, Any], place: str) -> dict[str, Any]:
        self._notes.unknown(place, upstream, _OF_UPSTREAMS)
        made: dict[str, Any] = {"load_balancer": self._algorithm(upstream, place)}
        weights = [
            whole(one.get("weight"), 100, 0, 65_535) for _, one in objects(upstream.get("targets"), "")
        ]
        scale = max([1000, *weights]) / 1000
        if scale > 1:
            self._notes.changed(f"{place}.targets", "weights are scaled to at most 1,000")
        instances: list[dict[str, Any]] = []
        for (at, target), weight in zip(
            objects(upstream.get("targets"), f"{place}.targets"), weights, strict=True
        ):
            if weight == 0:
                self._notes.left_out(at, "a target of weight 0")
                continue
            host, port = _address(text(target.get("target")))
            if instance := self._instance(f"{name}-{len(instances) + 1}", host, port, f"{at}.target"):
                instances.append(instance | {"weight": max(1, round(weight / scale))})
        if len(instances) > 256:
            self._notes.left_out(f"{place}.targets", "targets beyond the first 256")
        made["instances"] = instances[:256]
        return made | self._checks(mapping(upstream.get("healthchecks")), place)

    def _algorithm(self, upstream: Mapping[str, Any], place: str) -> str | None:
        wanted = text(upstream.get("algorithm"), "round-robin")
        if wanted == "consistent-hashing" and upstream.get("hash_on") == "ip":
            return "ip_hash"
        found = {"round-robin": "round_robin", "least-connections": "least_request"}.get(wanted)
        if found is None:
            self._notes.left_out(f"{place}.algorithm", f"{wanted[:40]}: instances take turns")
        return found

    def _checks(self, checks: Mapping[str, Any], place: str) -> dict[str, Any]:
        active, passive = mapping(checks.get("active")), mapping(checks.get("passive"))
        if passive:
            self._notes.changed(
                f"{place}.healthchecks.passive",
                "instances that fail are ejected by Headgate's own thresholds",
            )
        healthy, unhealthy = mapping(active.get("healthy")), mapping(active.get("unhealthy"))
        interval = number(healthy.get("interval"), 0) or number(unhealthy.get("interval"), 0)
        if not interval or active.get("type") == "tcp":
            self._notes.changed(place, _PROBED)
            return {}
        path = path_text(text(active.get("http_path"), "/").partition("?")[0])
        if path is None:
            self._notes.left_out(f"{place}.healthchecks.active.http_path", "no path that can be probed")
        failures = [
            whole(unhealthy.get(one), 0, 0, 100) for one in ("http_failures", "tcp_failures", "timeouts")
        ]
        return {
            "check_path": path,
            "check_interval": seconds(interval, 0.1, 86_400),
            "check_timeout": seconds(number(active.get("timeout"), 1), 0.01, 3600),
            "healthy_threshold": whole(healthy.get("successes"), 1, 1, 100),
            "unhealthy_threshold": min([one for one in failures if one], default=None),
        }


def upstream_host(service: Mapping[str, Any], upstream: Mapping[str, Any]) -> str | None:
    """The Host that Kong sends without preserve_host, if it is one name."""
    if upstream:
        hosts = {
            _address(text(one.get("target")))[0]
            for one in entries(upstream.get("targets"))
            if isinstance(one, dict)
        }
        return host_name(upstream.get("host_header")) or (host_name(hosts.pop()) if len(hosts) == 1 else None)
    return host_name(service.get("host"))


def _address(target: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?", target)
    return (found[1], whole(found[2], 8000, 1, 65_535)) if found else (target, 8000)


def _timeouts(service: Mapping[str, Any]) -> dict[str, Any]:
    connect = number(service.get("connect_timeout"), _MILLISECONDS) / 1000
    read = number(service.get("read_timeout"), _MILLISECONDS) / 1000
    return {
        "connect": seconds(connect, 0.01, 300),
        "response": seconds(read, 0.01, 86_400),
        "idle": seconds(read, 1, 86_400),
    }
