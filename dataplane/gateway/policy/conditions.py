"""Conditions of a route on header fields and query parameters, beside host, path and method."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
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
            found = parameters(request.query)
            for test in self.query:
                if not test.holds(found.value(test.name), URI_TOO_LONG):
                    return False
        return True


class Parameters:
    """Those of a query (application/x-www-form-urlencoded), decoded when they are asked for."""

    __slots__ = ("_decoded", "_sent")

    def __init__(self, query: bytes) -> None:
        """`query` has its question mark, or is empty."""
        self._decoded: dict[str, str | None] = {}
        self._sent: dict[str, str] = {}
        for pair in query[1:].decode("utf-8", "replace").split("&"):
            key, _, value = pair.partition("=")
            self._sent.setdefault(unquote_plus(key) if "%" in key or "+" in key else key, value)

    def value(self, name: str) -> str | None:
        """The value of the first parameter of that name; None without one."""
        if name not in self._decoded:
            sent = self._sent.get(name)
            self._decoded[name] = None if sent is None else unquote_plus(sent)
        return self._decoded[name]


@lru_cache(maxsize=1)
def parameters(query: bytes) -> Parameters:
    """Those of this query. To read thousands takes milliseconds, and many routes may look at a request: the last query
    is kept for them."""
    return Parameters(query)
