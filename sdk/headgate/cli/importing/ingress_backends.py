"""Backends of an Ingress as services with the DNS name of their Service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.cli.importing.draft import Draft, clean
from headgate.cli.importing.ingress_annotations import Annotations
from headgate.cli.importing.notes import Unusable
from headgate.cli.importing.values import host_name, mapping, seconds, text, whole


class Backends:
    """Makes a service for each Service, port and settings."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._notes = draft.notes
        self._made: dict[str, str] = {}

    def target(
        self, ingress: Mapping[str, Any], annotations: Annotations, entry: Mapping[str, Any], place: str
    ) -> dict[str, Any]:
        """Fields of a route that leads to a backend. Raises Unusable."""
        at = f"{place}.backend" if "path" in entry or "pathType" in entry else place
        service = mapping(mapping(entry.get("backend")).get("service"))
        if not text(service.get("name")):
            raise Unusable(at, "a backend that is no Service")
        namespace = text(mapping(ingress.get("metadata")).get("namespace"), "default")
        settings = self._settings(annotations)
        instances = self._instances(service, namespace, f"{at}.service.port")
        key = repr((namespace, service, settings))
        if key not in self._made:
            name = self._made[key] = self._draft.name("services", text(service["name"]))
            self._notes.changed(f"{at}.service", "is probed at /health: set the check_path of the service")
            self._draft.add("services", {"service_name": name, **settings, "instances": instances})
        made: dict[str, Any] = {"service_name": self._made[key], "upgrades": ["websocket"]}
        if vhost := annotations["upstream-vhost"]:
            made["rewrite_host"] = host_name(vhost)
            if made["rewrite_host"] is None:
                self._notes.left_out(annotations.at("upstream-vhost"), "no host name")
        return made

    def _instances(self, service: Mapping[str, Any], namespace: str, place: str) -> list[dict[str, Any]]:
        name, port = text(service["name"]), mapping(service.get("port"))
        host = host_name(f"{name}.{namespace}.svc.cluster.local")
        if host is None:
            raise Unusable(place, "no name of a Service")
        if not isinstance(number := port.get("number"), int):
            self._notes.left_out(place, "a port by name: add the instance, or discover it")
            return []
        return [
            {"instance_id": clean(name) or "instance", "host": host, "port": whole(number, 80, 1, 65_535)}
        ]

    def _settings(self, annotations: Annotations) -> dict[str, Any]:
        protocol = annotations["backend-protocol"].upper() or "HTTP"
        if protocol not in ("HTTP", "HTTPS", "AUTO_HTTP"):
            raise Unusable(annotations.at("backend-protocol"), f"backends of {protocol[:20]}")
        if protocol == "HTTPS":
            self._notes.changed(annotations.at("backend-protocol"), "certificates of instances are verified")
        read = annotations.number("proxy-read-timeout", 60)
        timeouts = {
            "connect": seconds(annotations.number("proxy-connect-timeout", 5), 0.01, 300),
            "response": seconds(read, 0.01, 86_400),
            "idle": seconds(read, 1, 86_400),
        }
        return {
            "timeouts": timeouts,
            "load_balancer": self._balancer(annotations),
            "tls": {"enabled": True} if protocol == "HTTPS" else None,
        }

    def _balancer(self, annotations: Annotations) -> str | None:
        if annotations["affinity"]:
            self._notes.changed(
                annotations.at("affinity"), "callers stay at an instance by address, not by cookie"
            )
            return "ip_hash"
        if hashed := annotations["upstream-hash-by"]:
            if hashed in ("$remote_addr", "$binary_remote_addr"):
                return "ip_hash"
            self._notes.left_out(annotations.at("upstream-hash-by"), "keys other than the address")
        wanted = annotations["load-balance"]
        if wanted == "ewma":
            self._notes.changed(
                annotations.at("load-balance"), "requests under way count, in place of latency"
            )
            return "least_request"
        return None
