"""The keys of buckets, as data planes report and operators name them: "subject:alice", "api_key,route:#…,orders"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.model.limit_key import MOST_PARTS, is_key_part

_OPEN = {"address": "[^,]*", "subject": ".*", "route": "[^,]*"}
"""Parts whose values are shown. The values of all others may be secret or personal: a keyed digest replaces them."""
_DIGEST = "(?:#[0-9a-f]{24})?"
"""Empty for requests without the field or claim."""


def shows_hidden(key: str) -> bool:
    """Whether the key may contain the plain value of a header, an API key or a claim.

    A text that does not begin with the names of parts is a bare value, as operators may write it.
    """
    readings = list(_readings(key))
    return any(not _OPEN.keys() >= set(parts) for parts, _ in readings) and not any(
        re.fullmatch(",".join(_OPEN.get(part, _DIGEST) for part in parts), values, re.DOTALL)
        for parts, values in readings
    )


def _readings(key: str) -> Iterator[tuple[list[str], str]]:
    """Every way to read a key as parts and values: names of parts may hold colons, and values both separators."""
    for more in range(MOST_PARTS):
        *parts, rest = key.split(",", more)
        if len(parts) < more or not all(map(is_key_part, parts)):
            return
        for colon in re.finditer(":", rest):
            last = rest[: colon.start()]
            if is_key_part(last) and len({*parts, last}) == len(parts) + 1:
                yield [*parts, last], rest[colon.end() :]
