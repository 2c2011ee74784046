"""Plugins of Kong as fields of a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from headgate.cli.importing.draft import Draft
from headgate.cli.importing.kong_edits import header_edits
from headgate.cli.importing.kong_limits import Limits
from headgate.cli.importing.notes import Unusable
from headgate.cli.importing.values import (
    METHODS,
    expression,
    header_name,
    host_name,
    mapping,
    network,
    path_text,
    text,
    texts,
    whole,
)

Config = Mapping[str, Any]
Plugins = Mapping[str, tuple[str, Config]]
"""By name the place and the configuration of those that are in force for a route."""

_CALLERS: Final = (
    *("acl", "basic-auth", "hmac-auth", "jwt", "jwt-signer", "key-auth", "key-auth-enc", "ldap-auth"),
    *(
        "ldap-auth-advanced",
        "mtls-auth",
        "oauth2",
        "oauth2-introspection",
        "openid-connect",
        "saml",
        "session",
    ),
    *("header-cert-auth", "vault-auth", "opa", "forward-proxy-auth"),
)
"""Plugins that admit some callers: without a counterpart, the route asks for a token of Headgate."""
_ORIGIN_TEXT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/-")
_UNITS: Final = {"megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}


class Translator:
    """Turns the plugins of a route into its fields."""

    def __init__(self, draft: Draft) -> None:
        self._notes = draft.notes
        self._limits = Limits(draft)
        self._known: Mapping[str, Callable[[Config, str], dict[str, Any]]] = {
            "cors": self._cors,
            "ip-restriction": self._addresses,
            "request-size-limiting": self._size,
            "request-termination": self._respond,
            "redirect": self._redirect,
            "request-transformer": lambda config, place: header_edits(
                config, place, self._notes, "request_headers"
            ),
            "response-transformer": lambda config, place: header_edits(
                config, place, self._notes, "response_headers"
            ),
        }

    def fields(self, plugins: Plugins) -> dict[str, Any]:
        """Fields of a route. Raises Unusable for a protection that has no counterpart."""
        # Kong bounds no request bodies without a plugin.
        made: dict[str, Any] = {"max_body_bytes": 0, "public": not any(name in plugins for name in _CALLERS)}
        for name, (place, config) in plugins.items():
            if name in _CALLERS:
                self._notes.left_out(place, f"{name}: callers need a token of Headgate instead")
            elif name in self._known:
                made |= self._known[name](config, f"{place}.config")
            elif name == "rate-limiting":
                made["rate_limits"] = self._limits.of(config, f"{place}.config", callers=not made["public"])
            else:
                self._notes.left_out(place, f"plugin {name[:80]}")
        return made

    def _cors(self, config: Config, place: str) -> dict[str, Any]:
        if config.get("preflight_continue") is True:
            self._notes.left_out(f"{place}.preflight_continue", "the gateway answers preflights itself")
        made: dict[str, Any] = {"allow_origins": [], "allow_origin_regex": []}
        for position, origin in enumerate(texts(config.get("origins")) or ["*"]):
            if origin == "*" or ("://" in origin and set(origin) <= _ORIGIN_TEXT):
                made["allow_origins"].append(origin.lower().rstrip("/"))
            elif found := expression(origin):
                made["allow_origin_regex"].append(found)
            else:
                self._notes.left_out(f"{place}.origins[{position}]", "not a regular expression of RE2")
        wanted = texts(config.get("methods")) or list(METHODS[:7])
        made["allow_methods"] = [one for one in wanted if one in METHODS]
        for method in wanted:
            if method not in METHODS:
                self._notes.left_out(f"{place}.methods", f"the gateway serves no {method[:32]}")
        made["allow_headers"] = _names(config.get("headers")) or ["*"]
        made["expose_headers"] = _names(config.get("exposed_headers"))
        made["allow_credentials"] = config.get("credentials") is True
        if config.get("max_age") is not None:
            made["max_age"] = whole(config["max_age"], 5, 0, 86_400)
        return {"cors": {name: _distinct(value) for name, value in made.items() if value not in ([], None)}}

    def _addresses(self, config: Config, place: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for field, wanted in (("allow_addresses", "allow"), ("deny_addresses", "deny")):
            found = [network(one) for one in texts(config.get(wanted) or [])]
            if None in found or len(found) > 256:
                raise Unusable(f"{place}.{wanted}", "addresses that cannot be read, or more than 256")
            made[field] = _distinct(found)
        for field in ("status", "message"):
            if config.get(field) is not None:
                self._notes.left_out(f"{place}.{field}", "refused addresses get the gateway's own 403")
        return made

    def _size(self, config: Config, place: str) -> dict[str, Any]:
        unit = _UNITS.get(text(config.get("size_unit"), "megabytes"), 1 << 20)
        if config.get("require_content_length") is True:
            self._notes.left_out(f"{place}.require_content_length", "bodies without a length are counted")
        return {"max_body_bytes": max(1, whole(config.get("allowed_payload_size"), 128, 0, 1 << 30) * unit)}

    def _respond(self, config: Config, place: str) -> dict[str, Any]:
        if config.get("trigger"):
            self._notes.left_out(f"{place}.trigger", "a condition of request-termination, with the plugin")
            return {}
        made: dict[str, Any] = {"status": whole(config.get("status_code"), 503, 200, 599)}
        made["body"] = text(config.get("body")) or text(config.get("message"))
        if config.get("body") and config.get("content_type"):
            made["content_type"] = text(config.get("content_type"))
        elif config.get("message"):
            self._notes.changed(f"{place}.message", "sent as plain text, not as JSON")
        if made["status"] in (204, 205, 304):
            made["body"] = ""
        return {"respond": made}

    def _redirect(self, config: Config, place: str) -> dict[str, Any]:
        status = whole(config.get("status_code"), 301, 0, 999)
        redirect = redirect_to(text(config.get("location")), status)
        if redirect is None:
            raise Unusable(f"{place}.location", "a redirect that has no counterpart")
        if config.get("keep_incoming_path") is True:
            redirect.pop("path", None)
        else:
            self._notes.changed(place, "the query of the request is kept")
        return {"redirect": redirect}


def redirect_to(location: str, status: int) -> dict[str, Any] | None:
    """A redirect to an absolute URL; None: it has no counterpart."""
    try:
        parts = urlsplit(location)
        host, port = host_name(parts.hostname or ""), parts.port
    except ValueError:
        return None
    path = path_text(parts.path or "/")
    plain = not parts.query and not parts.fragment and parts.scheme in ("http", "https")
    if not plain or host is None or path is None or status not in (301, 302, 303, 307, 308):
        return None
    made: dict[str, Any] = {"scheme": parts.scheme, "host": host, "path": path, "status": status}
    return made | ({"port": port} if port else {})


def effective(*levels: Plugins) -> Plugins:
    """The plugins of a route: of each name that of the most specific level, which comes last."""
    return {name: found for level in levels for name, found in level.items()}


def enabled(value: object) -> bool:
    """Whether a plugin is in force, with the default of Kong."""
    return mapping(value).get("enabled") is not False


def _names(value: object) -> list[str]:
    found = [header_name(one) for one in texts(value if value is not None else [])]
    return [one for one in found if one is not None]


def _distinct(value: Any) -> Any:
    return list(dict.fromkeys(value)) if isinstance(value, list) else value
