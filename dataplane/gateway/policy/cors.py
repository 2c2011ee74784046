"""CORS as the Fetch standard defines it (https://fetch.spec.whatwg.org/#http-cors-protocol): the fields of answers to
preflights and of responses.

`*` stands for every origin, method or field only in responses to requests without credentials; with them, the value of
the request is named. A response that depends on the origin says so in Vary, also to requests without one, so that no
cache gives it to others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from dataplane.gateway.policy.expressions import certainly

Fields = list[tuple[str, str]]

ANY: Final = "*"
_ORIGIN: Final = "access-control-allow-origin"
_CREDENTIALS: Final = ("access-control-allow-credentials", "true")
OF_RESPONSES: Final = (
    _ORIGIN,
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
)
"""Fields of responses that the gateway writes on a route with CORS: those of the service are dropped."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Scripts of which origins may use a route, and how."""

    origins: frozenset[str] = frozenset()
    """Whole origins, and ANY."""
    below: tuple[tuple[str, str], ...] = ()
    """Scheme with "://", and the end of the host with its port: ("https://", ".example.org")."""
    patterns: tuple[str, ...] = ()
    expressions: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    """`patterns`, compiled."""
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 5

    @property
    def varies(self) -> bool:
        """Whether responses depend on the origin of the request."""
        return self.credentials or ANY not in self.origins

    def allows(self, origin: str) -> bool:
        """Whether scripts of this origin may use the route."""
        if not origin:
            return False
        if ANY in self.origins or origin in self.origins:
            return True
        for scheme, end in self.below:
            # At least one character is left for the "*", and none that could begin another host.
            label = origin[len(scheme) : -len(end)]
            if origin.startswith(scheme) and origin.endswith(end) and label and not set("/@:?#") & set(label):
                return True
        return any(certainly(expression, origin) for expression in self.expressions)

    def response(self, origin: str) -> Fields:
        """The fields of a response; none if scripts of the origin may not read it."""
        if not self.allows(origin):
            return []
        fields = self._named(origin)
        if self.exposed:
            fields.append(("access-control-expose-headers", ", ".join(self.exposed)))
        return fields

    def preflight(self, origin: str, method: str, headers: str) -> Fields | None:
        """The fields of the answer to a preflight; None if its origin is not allowed.

        `method` and `headers` are those that the script wants to use.
        """
        if not self.allows(origin):
            return None
        fields = self._named(origin)
        if methods := self._listed(self.methods, method):
            fields.append(("access-control-allow-methods", methods))
        if headers and (allowed := self._listed(self.headers, headers)):
            fields.append(("access-control-allow-headers", allowed))
        fields.append(("access-control-max-age", str(self.max_age)))
        fields.append(("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"))
        return fields

    def _named(self, origin: str) -> Fields:
        fields = [(_ORIGIN, origin if self.varies else ANY)]
        if self.credentials:
            fields.append(_CREDENTIALS)
        return fields

    def _listed(self, allowed: tuple[str, ...], asked: str) -> str:
        if ANY in allowed:
            return asked if self.credentials else ANY
        return ", ".join(allowed)
