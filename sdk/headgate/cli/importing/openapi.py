"""OpenAPI 3.0 and 3.1 (https://spec.openapis.org/oas/v3.1.1).

A path without parameters becomes an exact `path`. One with parameters becomes a `path_regex` with `[^/]+` for each:
it matches what the description has, while a prefix would also admit every path below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from headgate.cli.importing.draft import Draft, Resources
from headgate.cli.importing.notes import Note, WrongFormat
from headgate.cli.importing.openapi_security import Access, Security
from headgate.cli.importing.values import (
    METHODS,
    entries,
    host_match,
    mapping,
    path_text,
    quoted,
    resolve,
    shortened,
    text,
)

_OPERATIONS: Final = ("get", "head", "post", "put", "delete", "options", "patch", "query", "trace")
_PARAMETER: Final = re.compile(r"\{[^{}/]*\}")


def translate(
    document: object, service: str | None = None, prefix: str = ""
) -> tuple[Resources, Sequence[Note]]:
    """The resources, and what differs. Raises WrongFormat."""
    root = mapping(document)
    if not text(root.get("openapi")).startswith("3."):
        raise WrongFormat("is no description of OpenAPI 3 (no field `openapi: 3.…`)")
    return _Import(root, service, prefix).translated()


class _Import:
    def __init__(self, root: Mapping[str, Any], service: str | None, prefix: str) -> None:
        self.root = root
        self.draft = Draft()
        self.notes = self.draft.notes
        self.prefix = prefix.rstrip("/")
        if self.prefix and path_text(self.prefix) is None:
            raise WrongFormat(f"--prefix {prefix!r} is no path that a route can have")
        info = mapping(root.get("info"))
        self.service = self.draft.name("services", service or text(info.get("title"), "api"))
        self.security = Security(root, self.draft)
        self.base = ""

    def translated(self) -> tuple[Resources, Sequence[Note]]:
        self._add_service()
        for path, item in mapping(self.root.get("paths")).items():
            if path.startswith("/"):
                self._add_path(path, f"paths.{path}", mapping(self._resolved(item)))
        if mapping(self.root.get("webhooks")):
            self.notes.left_out("webhooks", "requests that the service sends do not pass the gateway")
        return self.draft.resources(), self.notes.found

    def _add_service(self) -> None:
        description = shortened(mapping(self.root.get("info")).get("summary"))
        made: dict[str, Any] = {"service_name": self.service, "description": description}
        servers = entries(self.root.get("servers"))
        for position in range(1, len(servers)):
            self.notes.left_out(
                f"servers[{position}]", "a further server: add its instance if it is one of the same service"
            )
        made |= self._server(mapping(servers[0]) if servers else {})
        self.notes.changed(
            "servers" if servers else "info", "the service is probed at /health: set its check_path"
        )
        self.draft.add("services", made)

    def _server(self, server: Mapping[str, Any]) -> dict[str, Any]:
        variables = mapping(server.get("variables"))
        url = _PARAMETER.sub(
            lambda found: str(mapping(variables.get(found[0][1:-1])).get("default", found[0])),
            text(server.get("url")),
        )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        self.base = _base(parts.path)
        if host is None or parts.scheme not in ("http", "https") or not _is_address(host):
            self.notes.left_out(
                "servers[0].url", "has no host of http or https: add the instances of the service"
            )
            return {}
        if variables:
            self.notes.changed("servers[0].variables", "the defaults are used")
        secure = parts.scheme == "https"
        instance = {
            "instance_id": f"{self.service}-1",
            "host": host,
            "port": port or (443 if secure else 80),
        }
        return {"instances": [instance], "tls": {"enabled": True} if secure else None}

    def _add_path(self, path: str, place: str, item: Mapping[str, Any]) -> None:
        if "servers" in item:
            self.notes.left_out(f"{place}.servers", "servers of one path")
        groups: dict[Access, list[str]] = {}
        for method, operation in self._operations(place, item):
            access = self.security.of(operation, f"{place}.{method}")
            groups.setdefault(access, []).append(method.upper())
        match = self._match(path, place) if groups else {}
        for access, methods in groups.items() if match else ():
            name = self._name(path, methods if len(groups) > 1 else ())
            target = {"service_name": self.service, **access.fields()}
            self.draft.add("routes", {"name": name, **match, "methods": methods, **target})

    def _operations(self, place: str, item: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for method in _OPERATIONS:
            operation = item.get(method)
            if not isinstance(operation, dict):
                continue
            if "servers" in operation:
                self.notes.left_out(f"{place}.{method}.servers", "servers of one operation")
            if method.upper() in METHODS:
                yield method, operation
            else:
                self.notes.left_out(f"{place}.{method}", f"the gateway serves no {method.upper()}")

    def _match(self, path: str, place: str) -> dict[str, Any]:
        served = f"{self.base}{path}"
        literal = _PARAMETER.sub("x", served)
        if path_text(literal) is None or len(served) > 900:
            self.notes.left_out(place, "no path that a route can have (RFC 3986, 3.3)")
            return {}
        if literal == served:
            return {"path": self.prefix + served, "rewrite": served if self.prefix else None}
        pieces = map(quoted, _PARAMETER.split(self.prefix + served))
        made: dict[str, Any] = {"path_regex": "[^/]+".join(pieces)}
        if self.prefix:
            made["rewrite_regex"] = {"pattern": f"^{quoted(self.prefix)}", "substitution": ""}
        return made

    def _name(self, path: str, methods: Sequence[str]) -> str:
        segments = re.sub(r"[{}]", "", path).strip("/").replace("/", "-") or "root"
        return self.draft.name("routes", "-".join((self.service, segments, *methods)))

    def _resolved(self, item: object) -> object:
        """A path item, also behind a reference within the file."""
        if not isinstance(item, dict) or "$ref" not in item:
            return item
        return resolve(self.root, text(item["$ref"]))


def _base(path: str) -> str:
    path = path.rstrip("/")
    return path if path and path_text(path) else ""


def _is_address(host: str) -> bool:
    return ":" in host or host_match(host) is not None
