"""The bodies that a worker compresses. The work of one turn of the event loop is bounded over all connections, and so
is the memory: the number of bodies, and the bytes of each that wait for their turn.

Compressing is the only thing in a worker that takes time in proportion to a body's length: without a bound, one large
read would hold up all other connections for many milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

BUDGET: Final = 32_768
"""Bytes that are compressed in one turn of the event loop, over all connections: less than a millisecond."""
SLICE: Final = 16_384
"""Bytes of one body in a row."""
MOST: Final = 128
"""Bodies under way; further ones are sent as they are."""


class Compressor:
    """Compresses one body. Any of the calls may return nothing yet."""

    __slots__ = ()

    def process(self, data: bytes) -> bytes:
        """Take these bytes."""
        raise NotImplementedError

    def flush(self) -> bytes:
        """All that a client needs to decode what was taken so far."""
        raise NotImplementedError

    def finish(self) -> bytes:
        """The rest; call it once."""
        raise NotImplementedError


class Work:
    """A body with bytes that have not been compressed yet."""

    __slots__ = ()

    def go_on(self) -> None:
        """It may take more bytes."""
        raise NotImplementedError


class Compression:
    """Belongs to one event loop."""

    __slots__ = ("_counts", "_left", "_scheduled", "_soon", "_waiting", "under_way")

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """`soon` schedules a callback for the next turn of the event loop."""
        self._soon = soon
        self._left = BUDGET
        self._scheduled = False
        self._waiting: deque[Work] = deque()
        self._counts: dict[tuple[str, str], list[int]] = {}
        self.under_way = 0

    @property
    def full(self) -> bool:
        """There are so many bodies that the next one has to stay as it is."""
        return self.under_way >= MOST

    def begin(self, coding: str) -> Compressor:
        """A compressor for one more body; `end` gives its place back."""
        # Not before a response is compressed: workers without such routes do without the libraries.
        from dataplane.proxy.compressors import make

        self.under_way += 1
        return make(coding)

    def end(self, route: str, coding: str, read: int, written: int) -> None:
        """A body has ended, or is not needed any more. `read` and `written` are its bytes before and after."""
        self.under_way -= 1
        counts = self._counts.setdefault((route, coding), [0, 0, 0])
        counts[0] += 1
        counts[1] += read
        counts[2] += written

    def grant(self, wanted: int) -> int:
        """How many of these bytes may be compressed now; 0: none in this turn (`wait`)."""
        granted = min(wanted, SLICE, self._left)
        self._left -= granted
        self._schedule()
        return granted

    def wait(self, work: Work) -> None:
        """Let this body go on in the next turn, after those that came before."""
        self._waiting.append(work)
        self._schedule()

    def report(self) -> list[tuple[str | int, ...]]:
        """Since the last report: route, coding, responses, bytes before, and bytes after."""
        counts, self._counts = self._counts, {}
        return [(route, coding, *found) for (route, coding), found in counts.items()]

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._left = BUDGET
        for _ in range(len(self._waiting)):
            if not self._left:
                break
            self._waiting.popleft().go_on()
        if self._waiting:
            self._schedule()
