"""Exports one signal from a thread: a bounded queue, messages of many items, retries with growing waits.

Nothing here blocks whoever puts items in: what does not fit is dropped and counted.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from dataplane.telemetry.envelope import Envelope
from dataplane.telemetry.options import Queue
from dataplane.telemetry.transport import NotSent, Transport

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of the items of one message: collectors take 4 MiB over gRPC by default."""
RETRY_FIRST, RETRY_MOST = 1.0, 16.0
"""Seconds before a message is sent again; doubles each time."""
GIVE_UP: Final = 60.0
"""Seconds after which a message is dropped, and newer ones have their turn."""

_log = logging.getLogger(__name__)


class Exporter:
    """The queue and the thread of one signal. `put` may be called from any thread."""

    def __init__(
        self,
        signal: str,
        transport: Transport,
        envelope: Envelope,
        queue: Queue,
        chance: Callable[[], float] = random.random,
        *,
        most: int,
    ) -> None:
        """`most` bytes of items may wait, with those that are being sent. `chance` is uniform in [0, 1), for the
        waits."""
        self.signal = signal
        self.exported = 0
        """Items that the collector has taken."""
        self.dropped = 0
        """Items that were lost: the queue was full, or the collector did not take them."""
        self._transport = transport
        self._envelope = envelope
        self._queue = queue
        self._most = most
        self._chance = chance
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._count = self._bytes = 0
        """Items that wait; and bytes, also of those that are being sent."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"export of {signal}", daemon=True)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def put(self, count: int, items: bytes) -> None:
        """Queue `count` items, or drop them."""
        with self._changed:
            if self._count + count > self._queue.size or self._bytes + len(items) > self._most:
                self.dropped += count
                return
            self._waiting.append((count, items))
            self._count += count
            self._bytes += len(items)
            if self._count >= self._queue.batch:
                self._changed.notify()

    def close(self, within: float) -> None:
        """Export what waits, for at most `within` seconds. Blocks."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(within)
        with self._changed:
            self.dropped += self._count
            self._bytes -= sum(len(items) for _, items in self._waiting)
            self._waiting.clear()
            self._count = 0
        self._transport.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_ready, self._queue.delay)
                count, items = self._take()
            if count:
                self._send(count, items)
            elif self._closing.is_set():
                return

    def _send(self, count: int, items: list[bytes]) -> None:
        size = sum(map(len, items))
        try:
            self._export(count, items)
        except Exception:
            self.dropped += count
            _log.exception("telemetry cannot be exported", extra={"signal": self.signal})
        finally:
            with self._changed:
                self._bytes -= size

    def _is_ready(self) -> bool:
        return self._count >= self._queue.batch or self._closing.is_set()

    def _take(self) -> tuple[int, list[bytes]]:
        """The items of the next message: at least one piece, if there is any."""
        items: list[bytes] = []
        count = size = 0
        while self._waiting:
            more, piece = self._waiting[0]
            if items and (count + more > self._queue.batch or size + len(piece) > MOST_BYTES):
                break
            self._waiting.popleft()
            items.append(piece)
            count += more
            size += len(piece)
        self._count -= count
        return count, items

    def _export(self, count: int, items: list[bytes]) -> None:
        """Send one message, again and again until it is taken, refused for good, or too old."""
        message = self._envelope.wrap(items)
        until, wait = time.monotonic() + GIVE_UP, RETRY_FIRST
        while True:
            try:
                rejected, reason = self._transport.send(message)
            except NotSent as error:
                pause = max(error.wait, wait * (0.5 + self._chance() / 2))
                last = not error.again or self._closing.is_set() or time.monotonic() + pause > until
                if last:
                    self._lost(count, str(error))
                    # The next message must not ask sooner than the collector allows, either.
                    self._closing.wait(min(error.wait, GIVE_UP))
                    return
                self._report(str(error))
                self._closing.wait(pause)
                wait = min(wait * 2, RETRY_MOST)
                continue
            self.exported += count - rejected
            self._taken(rejected, reason)
            return

    def _taken(self, rejected: int, reason: str) -> None:
        if rejected:
            self._lost(rejected, reason or "rejected by the collector")
        elif self._failing:
            self._failing = False
            _log.info("telemetry is exported again", extra={"signal": self.signal})

    def _lost(self, count: int, reason: str) -> None:
        self.dropped += count
        self._report(reason)

    def _report(self, reason: str) -> None:
        """Log the beginning of an outage, not each of its failures."""
        if not self._failing:
            self._failing = True
            _log.warning("telemetry cannot be exported", extra={"signal": self.signal, "reason": reason})
