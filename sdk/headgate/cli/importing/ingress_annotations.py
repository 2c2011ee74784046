"""Annotations of ingress-nginx: the values of one Ingress, and a note for each that has no counterpart.

Defaults are those of https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/configmap/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headgate.cli.importing.notes import Notes, Unusable
from headgate.cli.importing.values import (
    METHODS,
    entries,
    header_name,
    mapping,
    network,
    number,
    text,
    texts,
    whole,
)

PREFIX: Final = "nginx.ingress.kubernetes.io/"
AUTHENTICATION: Final = ("auth-url", "auth-type", "auth-secret", "auth-tls-secret")
"""Annotations that admit some callers: without a counterpart, the routes ask for a token of Headgate."""
KNOWN: Final = frozenset(
    {
        *("rewrite-target", "use-regex", "ssl-redirect", "force-ssl-redirect", "proxy-body-size"),
        *("proxy-read-timeout", "proxy-send-timeout", "proxy-connect-timeout", "limit-rps", "limit-rpm"),
        *("limit-connections", "limit-burst-multiplier", "whitelist-source-range", "allowlist-source-range"),
        *("denylist-source-range", "enable-cors", "cors-allow-origin", "cors-allow-methods"),
        *("cors-allow-headers", "cors-expose-headers", "cors-allow-credentials", "cors-max-age"),
        *("permanent-redirect", "permanent-redirect-code", "temporal-redirect", "temporal-redirect-code"),
        *("canary", "canary-weight", "canary-weight-total", "canary-by-header", "canary-by-header-value"),
        *("affinity", "upstream-vhost", "backend-protocol", "load-balance", "upstream-hash-by"),
        *("server-alias", *AUTHENTICATION),
    }
)
_CORS_HEADERS: Final = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,"
    "Cache-Control,Content-Type,Range,Authorization"
)
_CORS_METHODS: Final = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_SIZE: Final = re.compile(r"(\d{1,12})([kmg]?)", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]{0,31}://(\*\.)?[a-z0-9._:\[\]-]{1,253}")


class Annotations:
    """The annotations of one Ingress."""

    def __init__(self, ingress: Mapping[str, Any], place: str, notes: Notes) -> None:
        found = mapping(mapping(ingress.get("metadata")).get("annotations"))
        self._found = {
            name.removeprefix(PREFIX): " ".join(texts(value))
            if not isinstance(value, bool)
            else str(value).lower()
            for name, value in found.items()
            if name.startswith(PREFIX)
        }
        self._place = f"{place}metadata.annotations"
        self._notes = notes

    def note_unknown(self) -> None:
        """Say which have no counterpart."""
        for name in self._found:
            if name not in KNOWN:
                self._notes.left_out(self.at(name), "no counterpart")
        for name in AUTHENTICATION:
            if name in self._found:
                self._notes.left_out(self.at(name), "callers need a token of Headgate instead")
        if "proxy-send-timeout" in self._found:
            self._notes.left_out(self.at("proxy-send-timeout"), "no time-out for sending of its own")

    def at(self, name: str) -> str:
        """The place of an annotation."""
        return f'{self._place}["{PREFIX}{name}"]'

    def __getitem__(self, name: str) -> str:
        return self._found.get(name, "")

    def on(self, name: str, default: bool = False) -> bool:
        """A switch."""
        return self._found[name] == "true" if name in self._found else default

    def number(self, name: str, default: float) -> float:
        """A number; nginx also writes seconds with an s."""
        return number(self[name].removesuffix("s"), default) if self[name] else default

    @property
    def authenticates(self) -> bool:
        """Whether callers had to show who they are."""
        return any(self[name] for name in AUTHENTICATION)

    def access(self) -> dict[str, Any]:
        """Who may use the routes. Raises Unusable."""
        allowed = self._networks("whitelist-source-range") or self._networks("allowlist-source-range")
        return {
            "public": not self.authenticates,
            "allow_addresses": allowed,
            "deny_addresses": self._networks("denylist-source-range"),
            "cors": self._cors() if self.on("enable-cors") else None,
        }

    def body(self) -> int:
        """The largest request body in bytes."""
        size = self["proxy-body-size"] or "1m"
        if not (found := _SIZE.fullmatch(size)):
            self._notes.left_out(self.at("proxy-body-size"), "not a size")
            return 1 << 20
        return min(int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2].lower()], 1 << 50)

    def _networks(self, name: str) -> list[str]:
        found = [network(one) for one in self[name].split(",") if one.strip()]
        if None in found or len(found) > 256:
            raise Unusable(self.at(name), "addresses that cannot be read, or more than 256")
        return [one for one in dict.fromkeys(found) if one is not None]

    def _cors(self) -> dict[str, Any]:
        origins = _listed(self["cors-allow-origin"] or "*")
        fitting = [one.lower() for one in origins if _ORIGIN.fullmatch(one.lower())]
        if len(fitting) < len(origins):
            self._notes.left_out(self.at("cors-allow-origin"), "origins of another form")
        age = self.number("cors-max-age", 1_728_000)
        if age > 86_400:
            place = self.at("cors-max-age" if self["cors-max-age"] else "enable-cors")
            self._notes.changed(place, "answers to preflights are kept for a day at most")
        made: dict[str, Any] = {
            "allow_origins": list(dict.fromkeys(fitting))[:64],
            "allow_methods": [
                one for one in _listed(self["cors-allow-methods"] or _CORS_METHODS) if one in METHODS
            ],
            "allow_headers": _fields(self["cors-allow-headers"] or _CORS_HEADERS),
            "expose_headers": _fields(self["cors-expose-headers"]),
            "allow_credentials": self.on("cors-allow-credentials", default=True),
            "max_age": whole(age, 5, 0, 86_400),
        }
        return {name: value for name, value in made.items() if value != []}


def secure_hosts(spec: Mapping[str, Any]) -> set[str]:
    """Hosts with a certificate."""
    return {host for one in entries(spec.get("tls")) for host in texts(mapping(one).get("hosts") or [])}


def name_of(ingress: Mapping[str, Any]) -> str:
    """The name of an Ingress."""
    return text(mapping(ingress.get("metadata")).get("name"), "ingress")


def _listed(value: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in value.split(",") if one.strip()))


def _fields(value: str) -> list[str]:
    found = [header_name(one) for one in _listed(value)]
    return [one for one in dict.fromkeys(found) if one is not None][:64]
