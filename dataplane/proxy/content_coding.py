"""Which content coding a response gets: what the client accepts (RFC 9110, section 12.5.3), what a route encodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

CODINGS: Final = ("zstd", "br", "gzip")
"""Those that the gateway writes, as in Content-Encoding."""
_WEIGHT: Final = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_SAME: Final = {"x-gzip": "gzip"}
"""RFC 9110, section 8.4.1.3."""
_STREAM: Final = b"text/event-stream"
_GRPC: Final = b"application/grpc"


class Codings:
    """The codings of a route, in order of preference, and the responses that they are for."""

    __slots__ = ("_codings", "_groups", "_types", "min_bytes")

    def __init__(self, codings: Sequence[str], media_types: Iterable[str], min_bytes: int) -> None:
        """`media_types` are in lower case and without parameters; "text/*" is every text. Bodies of fewer than
        `min_bytes` stay as they are."""
        types = [each.encode("latin-1") for each in media_types]
        self._codings = tuple(codings)
        self._types = frozenset(types)
        self._groups = tuple(each[:-1] for each in types if each.endswith(b"/*"))
        self.min_bytes = min_bytes

    def choose(self, accept: str) -> str:
        """The coding for a client with this Accept-Encoding; "" for none."""
        return preferred(accept, self._codings) if accept else ""

    def covers(self, content_type: bytes) -> bool:
        """Whether content of this type is encoded. Streams of events and gRPC never are: they are written message by
        message."""
        kind = content_type.partition(b";")[0].strip(b" \t").lower()
        if kind == _STREAM or kind.startswith(_GRPC):
            return False
        return kind in self._types or kind.startswith(self._groups)


@lru_cache(maxsize=256)
def preferred(accept: str, codings: tuple[str, ...]) -> str:
    """The one of `codings` that the client likes best, of several the first; "" if it likes none, or identity better.

    `accept` is the value of Accept-Encoding.
    """
    weights = _weights(accept)
    others = weights.get("*", 0.0)
    best, most = "", 0.0
    for coding in codings:
        weight = weights.get(coding, others)
        if weight > most:
            best, most = coding, weight
    return "" if weights.get("identity", 0.0) > most else best


def _weights(accept: str) -> dict[str, float]:
    """The weight of each coding. A malformed member says nothing, and of two about one coding the lower one counts."""
    found: dict[str, float] = {}
    for member in accept.split(","):
        name, semicolon, parameter = member.partition(";")
        coding = name.strip(" \t").lower()
        weight = _WEIGHT.fullmatch(parameter.strip(" \t"))
        if not coding or (semicolon and weight is None):
            continue
        coding = _SAME.get(coding, coding)
        value = 1.0 if weight is None else float(weight[1])
        found[coding] = min(value, found.get(coding, 1.0))
    return found
