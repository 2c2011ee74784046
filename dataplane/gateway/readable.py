"""The fields by which CORS lets scripts read responses, kept by origin."""

from __future__ import annotations

from typing import Final

from dataplane.gateway.policy.cors import Cors
from dataplane.proxy.messages import Request

_MOST_ORIGINS: Final = 64
_LONGEST_ORIGIN: Final = 300
"""Characters of an origin that is kept, with the longest name in DNS. Any client can send any origin."""


class Readable:
    """The fields for the responses of one route."""

    __slots__ = ("_cors", "_known")

    def __init__(self, cors: Cors) -> None:
        self._cors = cors
        self._known: dict[str, tuple[tuple[str, str], ...]] = {}

    def fields(self, request: Request) -> tuple[tuple[str, str], ...]:
        """The fields of the response to this request; none if scripts of its origin may not read it."""
        origin = request.field("origin")
        known = self._known.get(origin)
        if known is None:
            known = tuple(self._cors.response(origin))
            if len(origin) <= _LONGEST_ORIGIN:
                if len(self._known) >= _MOST_ORIGINS:
                    self._known.clear()
                self._known[origin] = known
        return known
