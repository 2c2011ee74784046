"""Routes of Kong: matches, and what becomes of path and host.

A condition that has no counterpart makes the route `Unusable`: without it, the route would match more requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headgate.cli.importing.notes import Notes, Unusable
from headgate.cli.importing.values import (
    METHODS,
    expression,
    header_name,
    host_match,
    mapping,
    path_text,
    quoted,
    text,
    texts,
    visible,
)

_CONDITIONS: Final = ("snis", "sources", "destinations", "expression")

_FIELDS: Final = frozenset(
    {
        *("name", "id", "paths", "hosts", "methods", "headers", "protocols", "https_redirect_status_code"),
        *("strip_path", "preserve_host", "regex_priority", "path_handling", "plugins", "service", "tags"),
        *("created_at", "updated_at", *_CONDITIONS),
    }
)


class Matches:
    """Makes one match for each path of a route."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def of(self, route: Mapping[str, Any], place: str) -> Sequence[dict[str, Any]]:
        """Fields of routes. Raises Unusable."""
        for field in _CONDITIONS:
            if route.get(field):
                raise Unusable(f"{place}.{field}", "a condition without a counterpart")
        if odd := set(texts(route.get("protocols") or [])) - {"http", "https"}:
            raise Unusable(f"{place}.protocols", f"routes of {', '.join(sorted(odd))[:80]}")
        self._notes.unknown(place, route, _FIELDS)
        common = {
            "hosts": self._hosts(route, place),
            "methods": self._methods(route, place),
            "headers": self._headers(route, place),
        }
        if route.get("regex_priority"):
            self._notes.changed(f"{place}.regex_priority", "the precedence of routes is fixed")
        paths = texts(route.get("paths") or ["/"])
        found = [self._path(path, f"{place}.paths[{position}]") for position, path in enumerate(paths)]
        return [{**common, **one} for one in found if one]

    def _hosts(self, route: Mapping[str, Any], place: str) -> list[str]:
        given = texts(route.get("hosts") or [])
        found: dict[str, None] = {}
        for position, host in enumerate(given):
            name = host_match(host.partition(":")[0])
            if name is None:
                self._notes.left_out(
                    f"{place}.hosts[{position}]",
                    f"{host[:80]!r} is no name, and no wildcard of names below one",
                )
                continue
            if ":" in host:
                self._notes.changed(f"{place}.hosts[{position}]", "matches the name at any port")
            found[name] = None
        if (given and not found) or len(found) > 64:
            raise Unusable(f"{place}.hosts", "no host that a route can have, or more than 64")
        return list(found)

    def _methods(self, route: Mapping[str, Any], place: str) -> list[str]:
        given = texts(route.get("methods") or [])
        found = list(dict.fromkeys(one for one in given if one in METHODS))
        if len(found) < len(given):
            self._notes.left_out(f"{place}.methods", "methods that the gateway does not serve")
        if given and not found:
            raise Unusable(f"{place}.methods", "no method that the gateway serves")
        return found

    def _headers(self, route: Mapping[str, Any], place: str) -> list[dict[str, str]]:
        made = []
        for name, wanted in mapping(route.get("headers")).items():
            at, values = f"{place}.headers.{name}", texts(wanted)
            field = header_name(name)
            condition = _condition(values)
            if field is None or condition is None:
                raise Unusable(at, "a condition without a counterpart")
            if "exact" in condition:
                self._notes.changed(at, "the value is compared with its case")
            made.append({"name": field, **condition})
        return made

    def _path(self, path: str, place: str) -> dict[str, str]:
        if path.startswith("~"):
            return self._regex(path[1:], place)
        prefix = path_text(path.rstrip("/") or "/")
        if prefix is None:
            self._notes.left_out(place, "no path that a route can have (RFC 3986, 3.3)")
            return {}
        if path != prefix:
            self._notes.changed(place, f"matches {prefix}, too, and only whole segments")
        elif path != "/":
            self._notes.once(place, "a prefix matches whole segments: /a matches /a/b, but not /ab")
        return {"prefix": prefix}

    def _regex(self, pattern: str, place: str) -> dict[str, str]:
        """Kong matches the beginning of the path, Headgate the whole."""
        found = expression(pattern.removeprefix("^"))
        if found is None:
            self._notes.left_out(place, "not a regular expression of RE2")
            return {}
        return {"path_regex": f"(?:{found}).*"}


def forwarding(
    service: Mapping[str, Any],
    route: Mapping[str, Any],
    match: Mapping[str, Any],
    host: str | None,
    place: str,
    notes: Notes,
) -> dict[str, Any]:
    """How the service is asked: path, host, upgrades."""
    made: dict[str, Any] = {"upgrades": ["websocket"]}
    base = path_text(text(service.get("path")).rstrip("/")) or ""
    if service.get("path") not in (None, "/") and not base:
        notes.left_out(place, "the path of the service, which is none that a route can have")
    made |= _rewritten(base, route.get("strip_path") is not False, match)
    if route.get("preserve_host") is not True:
        if host is None:
            notes.changed(
                place, "preserve_host: the service gets the client's Host, because it has no one name"
            )
        made["rewrite_host"] = host
    if route.get("path_handling") == "v1":
        notes.changed(f"{place}.path_handling", "paths are joined as by v0")
    return made


def _rewritten(base: str, strip: bool, match: Mapping[str, Any]) -> dict[str, Any]:
    prefix = match.get("prefix")
    if prefix is None:
        if strip:
            matched = match["path_regex"].removesuffix(".*")
            return {"rewrite_regex": {"pattern": f"^{matched}/?", "substitution": f"{base}/"}}
        return {"rewrite_regex": {"pattern": "^/", "substitution": f"{base}/"}} if base else {}
    if strip and prefix != "/":
        return {"rewrite": base} if base else {"strip_prefix": True}
    return {"rewrite": base + (prefix if prefix != "/" else "")} if base else {}


def _condition(values: Sequence[str]) -> dict[str, str] | None:
    if len(values) == 1 and values[0].startswith("~*"):
        found = expression(values[0][2:])
        return {"regex": f"(?i:.*(?:{found}).*)"} if found else None
    if len(values) == 1 and (exact := visible(values[0])):
        return {"exact": exact}
    several = expression("|".join(quoted(one) for one in values)) if all(map(visible, values)) else None
    return {"regex": f"(?i:{several})"} if several and len(several) < 900 else None
