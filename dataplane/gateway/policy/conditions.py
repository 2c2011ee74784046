"""Conditions of a route on header fields and query parameters, beside host, path and method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import unquote_plus

from dataplane.gateway.policy.expressions import whole

URI_TOO_LONG: Final = 414
FIELDS_TOO_LARGE: Final = 431


class Asked(Protocol):
    """The parts of a request that conditions look at (`proxy.messages.Request`)."""

    @property
    def query(self) -> bytes:
        """With its question mark, or empty."""

    def listed_field(self, name: str) -> str | None:
        """The value of a header field, by lower-case name; None without one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one value: all of it is `exact`, `expression` matches all of it, or neither is set and any will
    do."""

    name: str
    exact: str | None = None
    regex: str = ""
    expression: Any = field(default=None, compare=False, repr=False)
    """`regex`, compiled."""

    def holds(self, value: str | None, status: int) -> bool:
        """Whether a value meets the condition; None: there is none. Raises TooLong with this status."""
        if value is None:
            return False
        if self.exact is not None:
            return value == self.exact
        return self.expression is None or whole(self.expression, value, status)


@dataclass(frozen=True, slots=True)
class Conditions:
    """All of them must hold."""

    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()

    def hold(self, request: Asked) -> bool:
        """Whether a request meets all conditions. Raises TooLong."""
        for test in self.headers:
            if not test.holds(request.listed_field(test.name), FIELDS_TOO_LARGE):
                return False
        if self.query:
            pairs = request.query[1:].decode("utf-8", "replace").split("&")
            for test in self.query:
                if not test.holds(parameter(pairs, test.name), URI_TOO_LONG):
                    return False
        return True


def parameter(pairs: list[str], name: str) -> str | None:
    """The decoded value of the first parameter of that name (application/x-www-form-urlencoded); None without one."""
    for pair in pairs:
        key, _, value = pair.partition("=")
        if (unquote_plus(key) if "%" in key or "+" in key else key) == name:
            return unquote_plus(value)
    return None
