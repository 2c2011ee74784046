"""A response's body on its way through a compressor: taken from the instance's side, sent to the client in chunks.

While bytes wait for their turn, the instance's connection is not read. A body of unknown length is flushed after every
read: its instance may be writing message by message. One of known length is not: it comes without pauses, and a flush
costs bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from dataplane.proxy.compression import Compression, Compressor, Work
from dataplane.proxy.exchange import Exchange, InstanceSide
from dataplane.proxy.http1.response import chunk


class EncodedBody(Work):
    """One body."""

    __slots__ = (
        "_coding",
        "_compression",
        "_compressor",
        "_done",
        "_ending",
        "_exchange",
        "_flushes",
        "_pieces",
        "_queued",
        "_read",
        "_side",
        "_written",
    )

    def __init__(
        self,
        compression: Compression,
        coding: str,
        exchange: Exchange,
        side: InstanceSide,
        done: Callable[[Exchange, float], None],
        *,
        flushes: bool,
    ) -> None:
        """`done` is called when the whole body has been written. `flushes`: after every read."""
        self._compression = compression
        self._compressor: Compressor | None = compression.begin(coding)
        self._coding = coding
        self._exchange = exchange
        self._side = side
        self._done = done
        self._flushes = flushes
        self._pieces: deque[bytes] = deque()
        self._ending: list[bytes] | None = None
        self._queued = False
        self._read = self._written = 0

    @property
    def pending(self) -> bool:
        """There is something to write that does not depend on the instance."""
        return bool(self._pieces) or self._ending is not None

    @property
    def ended(self) -> bool:
        """The instance has sent the whole body."""
        return self._ending is not None

    def take(self, pieces: list[bytes]) -> None:
        """More of the body; `go_on` writes it."""
        self._pieces.extend(pieces)

    def end(self, ending: list[bytes]) -> None:
        """The body is whole. `ending` are the pieces after its last chunk."""
        self._ending = ending

    def go_on(self) -> None:
        self._queued = False
        compressor, exchange = self._compressor, self._exchange
        if compressor is None or exchange.client.write_paused:
            # `InstanceSide.resume` goes on.
            return
        now = monotonic()
        out = self._compress(compressor)
        if self._pieces:
            self._write(out, now)
            self._wait()
        elif self._ending is None:
            if self._flushes:
                out.append(compressor.flush())
            self._write(out, now)
            self._read_on()
        else:
            out.append(compressor.finish())
            self._write(out, now)
            exchange.client.outgoing.writelines(self._ending, 0)
            self.drop()
            self._done(exchange, now)

    def resume(self) -> None:
        """The client accepts bytes again."""
        if not self._queued:
            self.go_on()

    def drop(self) -> None:
        """The rest is not needed."""
        if self._compressor is not None:
            self._compressor = None
            self._pieces.clear()
            plan = self._exchange.plan
            assert plan is not None
            self._compression.end(plan.route_name, self._coding, self._read, self._written)

    def _compress(self, compressor: Compressor) -> list[bytes]:
        """As much as may be compressed in this turn."""
        out: list[bytes] = []
        while self._pieces and (granted := self._compression.grant(len(self._pieces[0]))):
            piece = self._pieces.popleft()
            if granted < len(piece):
                self._pieces.appendleft(piece[granted:])
                piece = piece[:granted]
            self._read += granted
            out.append(compressor.process(piece))
        return out

    def _write(self, pieces: list[bytes], now: float) -> None:
        """One chunk; the client's deadline moves even if the compressor keeps everything for now."""
        exchange = self._exchange
        exchange.client.touch(exchange, now)
        pieces = [piece for piece in pieces if piece]
        size = sum(map(len, pieces))
        if size:
            self._written += size
            exchange.sent += size
            exchange.client.outgoing.writelines(chunk(pieces, size), size)

    def _wait(self) -> None:
        """For the next turn, or for the client."""
        if self._ending is None:
            self._side.pause()
        if not self._exchange.client.write_paused:
            self._queued = True
            self._compression.wait(self)

    def _read_on(self) -> None:
        if self._exchange.client.write_paused:
            self._side.pause()
        else:
            self._side.resume()
