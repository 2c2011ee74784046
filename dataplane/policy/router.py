"""Finds the route of a request: cost by the depth of its path, not by the number of routes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataplane.policy.resources import Route


class NotFound:
    """No route matches host and path."""

    __slots__ = ()


NOT_FOUND = NotFound()


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """Routes match host and path, none of them the method. `allow` is sorted (RFC 9110, section 15.5.6)."""

    allow: tuple[str, ...]


class Router:
    """An immutable table of routes."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        raise NotImplementedError

    def match(self, host: str, path: str, method: str) -> Route | NotFound | MethodNotAllowed:
        """The most specific route. `host` without port, in any case; `path` normalised, without query."""
        raise NotImplementedError

    def changed(self, removed: Iterable[Route], added: Iterable[Route]) -> Router:
        """A router without `removed` and with `added`; this one stays as it is."""
        raise NotImplementedError


def upstream_path(route: Route, path: str) -> str:
    """The path sent to the service: `path` (without query) after `strip_prefix` and `rewrite`."""
    raise NotImplementedError
