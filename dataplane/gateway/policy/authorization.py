"""A service that is asked about requests, as the configuration says it; and the answers of late."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST_KNOWN: Final = 10_000
"""Answers that are kept, for each route in each worker."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """Names of fields are in lower case. Durations are seconds."""

    service: str
    path: str = "/"
    request_headers: tuple[str, ...] = ()
    """Fields of the client's request that the service gets."""
    to_service: tuple[str, ...] = ()
    """Fields of its answer that the instance gets, in place of the client's."""
    to_client: tuple[str, ...] = ()
    """Fields of its refusal that the client gets."""
    timeout: float = 1.0
    cache_seconds: float = 0.0
    """For which an answer that lets a request pass is used again; 0: never."""
    cache_key: tuple[str, ...] = ()
    """Fields of the request for which an answer is used again; empty: all that the service was asked."""
    fail_open: bool = False
    """Requests pass while it does not answer."""


Answer = tuple[tuple[bytes, bytes], ...]
"""The fields for the instance: names and values."""


class Answers:
    """Answers that let requests pass, by a digest of what they depend on. The oldest make room."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._known: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()
        self._most = most

    def get(self, key: bytes, now: float) -> Answer | None:
        """The answer, unless it is too old."""
        found = self._known.get(key)
        if found is None:
            return None
        expires, answer = found
        if now >= expires:
            del self._known[key]
            return None
        return answer

    def put(self, key: bytes, answer: Answer, expires: float) -> None:
        """Keep an answer until then."""
        self._known.pop(key, None)
        self._known[key] = (expires, answer)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
