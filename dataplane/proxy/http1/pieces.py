"""The size of the pieces in which a read with several requests is parsed."""

from __future__ import annotations

import re
from typing import Final

from dataplane.proxy.exchange import Exchange

AHEAD: Final = 16
"""Requests that are parsed before they are started; bytes read beyond them stay unparsed."""
PIECE: Final = 512
"""Bytes parsed in one piece when several requests come in one read: some twenty of the shortest."""
WHOLE: Final = 1_024
"""Size of a read that is always parsed in one piece: some forty of the shortest requests. Searching every read for a
second request costs more than reading one request line."""
VERSION: Final = b" HTTP/1."
"""In every request line that is served. Found in half the time of the empty line that ends a head."""
_VERSIONS: Final = re.compile(re.escape(VERSION))
_LINES_END: Final = re.compile(rb"\r\n\r\n")


def piece_end(incoming: Exchange | None, data: memoryview | bytes, begin: int) -> int:
    """The end of the next piece of `data` to parse; it holds few requests. `incoming`: whose body it is."""
    end = len(data)
    if incoming is None:
        return min(end, begin + PIECE)
    if incoming.request is not None and incoming.request.length > 0:
        return min(end, begin + incoming.request.length - incoming.received)
    # A body in chunks. Each further request takes at least a version and an empty line.
    reach = max(_reach(_LINES_END, data, begin), _reach(_VERSIONS, data, begin))
    return min(end, max(reach, begin + PIECE))


def _reach(pattern: re.Pattern[bytes], data: memoryview | bytes, begin: int) -> int:
    """The end of the last of the next `AHEAD` matches; the end of the data if there are fewer."""
    for count, found in enumerate(pattern.finditer(data, begin), 1):
        if count == AHEAD:
            return found.end()
    return len(data)
