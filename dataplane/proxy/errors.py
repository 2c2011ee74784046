"""Reasons for not forwarding a request, or for an unusable response, beyond the refusals of `policy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONNECT: Final = "connect"
"""Cause of a failed attempt: no connection could be made, so nothing was sent."""
RESET: Final = "reset"
"""The connection ended before a whole response head had come."""
TIMEOUT: Final = "timeout"
"""No response in time."""


class AboutServer:
    """An OPTIONS request about the gateway itself: `OPTIONS *`, or with Max-Forwards: 0 (RFC 9110 section 7.6.2)."""

    __slots__ = ()


class NotConfigured:
    """No configuration has arrived yet, so the routes are not known."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class NotRegistered:
    """The service has no instance at all."""

    service: str


@dataclass(frozen=True, slots=True)
class NoneHealthy:
    """The service has instances, but none that takes requests now."""

    service: str
    retry_after: float
    """Seconds until the next probe may find one, at the latest."""


@dataclass(frozen=True, slots=True)
class Saturated:
    """The service has reached its bound of requests under way (`Service.max_in_flight`)."""

    service: str


@dataclass(frozen=True, slots=True)
class CircuitOpen:
    """The service's breaker is open."""

    service: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The body exceeds the route's max_body_bytes."""

    limit: int


class ClientStalled:
    """The client has stopped reading its response."""

    __slots__ = ()


class TooManyConnections:
    """The worker or the client's address has reached its bound of connections."""

    __slots__ = ()


class Exhausted:
    """No file descriptor or port is left for a connection to an instance."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The instance could not be reached, or left before it answered."""

    reason: str


@dataclass(frozen=True, slots=True)
class BadResponse:
    """The instance's answer is not one well-formed response."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The instance took too long to accept a connection or to answer."""

    reason: str
