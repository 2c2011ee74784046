"""TLS on a client's connection: a protocol to the transport below, and a transport to the protocol above.

The event loop's own TLS has a buffer of 256 KiB, a timer and several objects for every connection, and copies what it
reads once more; here OpenSSL gets what was read and gives back what to write (docs/performance.md has the figures).
The deadline of the handshake is one of those that the worker's tick looks at.

OpenSSL's buffers keep the size that they once had. So they get one record at a time, whatever was read or is to be
written: a connection that carried a large body and is idle now costs as little as any.

Ends are told as TLS tells them: `close` sends what is left, then close_notify (RFC 8446 section 6.1), and reads on,
throwing away what comes, until the peer has ended its side too. How long it may take for that, and to take what was
sent to it, is for the protocol above to say, which aborts in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, cast

from dataplane.proxy.connections import Connections
from dataplane.proxy.trust import Peer

RECORD: Final = 16_384
"""Most bytes that one record carries (RFC 8446 section 5.1)."""
_SMALL: Final = 512
"""Fewer bytes are not worth a read of their own."""
_UNASKED: Final = 16
"""Times that one peer gets an answer of TLS itself: each attempt to renegotiate in TLS 1.2 gets one, read or not."""


class Secured(asyncio.Transport):
    """One connection. Counts among the client connections until the handshake is done; then what is above does."""

    __slots__ = (
        "_above",
        "_closing",
        "_connections",
        "_ended",
        "_held",
        "_incoming",
        "_outgoing",
        "_shaken",
        "_tls",
        "_unasked",
        "deadline",
        "peer",
        "transport",
    )

    transport: asyncio.Transport
    """The one below."""

    def __init__(
        self,
        context: ssl.SSLContext,
        above: asyncio.Protocol,
        peer: Peer,
        connections: Connections,
        handshake_timeout: float,
    ) -> None:
        self.peer = peer
        self.deadline = monotonic() + handshake_timeout
        """Monotonic time at which `expire` is called."""
        self._above = above
        self._connections = connections
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = self._closing = self._ended = False
        self._unasked = 0
        self._held = False
        """Something is in `_outgoing` that can wait for the next write."""

    # --- a client connection, during the handshake

    def expire(self, now: float) -> None:
        """The handshake takes too long."""
        self.transport.abort()

    def drain(self) -> None:
        """Nothing is under way."""
        self.transport.abort()

    # --- the protocol of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there; the handshake comes first."""
        self.transport = cast(asyncio.Transport, transport)
        self._connections.begin(self)

    def data_received(self, data: bytes) -> None:
        """Records, or pieces of them."""
        if self._closing:
            return
        size = len(data)
        pieces: list[bytes] = []
        if size <= RECORD:
            self._take(data, pieces, max(size, _SMALL))
        else:
            view = memoryview(data)
            for begin in range(0, size, RECORD):
                self._take(view[begin : begin + RECORD], pieces, RECORD)
                if self._over():
                    break
        self._hand_over(pieces)

    def eof_received(self) -> bool:
        """The peer has ended the connection, perhaps without a word in TLS."""
        self._ended = True
        if self._shaken and not self._closing:
            # What is above has no use for half a connection of TLS.
            self._above.eof_received()
            self._closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended = self._closing = True
        if self._shaken:
            self._above.connection_lost(exc)
        else:
            self._connections.gone(self)
        # It holds on to this transport: a cycle.
        self._above = _NOBODY

    def pause_writing(self) -> None:
        """More waits than should."""
        if self._shaken:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """Enough of it has left."""
        if self._shaken and not self._closing:
            self._above.resume_writing()

    # --- the transport of the protocol above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport below, and "ssl_object"."""
        return self._tls if name == "ssl_object" else self.transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From now on this one is above."""
        self._above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """What is above."""
        return self._above

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the transport below."""
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, as records."""
        return self.transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing or self.transport.is_closing()

    def is_reading(self) -> bool:
        """Whether it is not paused."""
        return self.transport.is_reading()

    def pause_reading(self) -> None:
        """Read nothing more for now; what has been read has been handed over."""
        if not self._closing:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._closing:
            self.transport.resume_reading()

    def can_write_eof(self) -> bool:
        """False: TLS 1.2 has no half-closed connections."""
        return False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Encrypt and send."""
        if not self._closing:
            self._encrypt(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[int]]) -> None:
        """Encrypt and send all, small pieces in one record."""
        if not self._closing:
            self._encrypt(b"".join(list_of_data))

    def close(self) -> None:
        """Send what is left, say that nothing follows, and wait for the peer to agree, or for `abort`."""
        if self._closing:
            return
        if not self._shaken:
            self.transport.abort()
            return
        self._closing = True
        self._say_goodbye()
        if self._ended:
            self.transport.close()
            return
        self.transport.resume_reading()
        self.transport.write_eof()

    def abort(self) -> None:
        """End it at once."""
        self._closing = True
        self.transport.abort()

    # --- inside

    def _over(self) -> bool:
        return self._closing or self._ended

    def _take(self, data: bytes | memoryview[int], pieces: list[bytes], size: int) -> None:
        """Read a record, or a part of one."""
        self._incoming.write(data)
        if self._shaken or self._shake():
            self._decrypt(pieces, size)

    def _shake(self) -> bool:
        """Take the handshake further; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, OSError):
            # OpenSSL has left an alert that says why.
            self._closing = True
            self._flush()
            self.transport.close()
            return False
        self._shaken = True
        if self._tls.version() == "TLSv1.3":
            # What is left are session tickets: they travel with the first response.
            self._held = self._outgoing.pending > 0
        else:
            self._flush()
        self._connections.hand_over(self)
        self._above.connection_made(self)
        return True

    def _decrypt(self, pieces: list[bytes], size: int) -> None:
        """Decrypt what there is, `size` bytes at a time."""
        tls, incoming = self._tls, self._incoming
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(size)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        except (ssl.SSLError, OSError):
            self.abort()
        if self._outgoing.pending and not (self._held or self._closing):
            self._answer()

    def _answer(self) -> None:
        """TLS itself has something to say. Whoever asks again and again takes no answer, and would fill the memory."""
        self._unasked += 1
        if self._unasked > _UNASKED:
            self.abort()
        else:
            self._flush()

    def _hand_over(self, pieces: list[bytes]) -> None:
        """Hand over what was decrypted, in one piece, and the end."""
        if pieces and not self._closing:
            self._above.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ended and not self._closing:
            self._above.eof_received()
            self.close()

    def _encrypt(self, data: bytes | bytearray | memoryview[int]) -> None:
        """One record at a time, which is what OpenSSL takes at once."""
        size = len(data)
        if size <= RECORD:
            if size:
                self._tls.write(data)
            self._flush()
            return
        view = memoryview(data)
        sent = 0
        while sent < size:
            sent += self._tls.write(view[sent : sent + RECORD])
            self._flush()

    def _flush(self) -> None:
        self._held = False
        data = self._outgoing.read()
        if data:
            self.transport.write(data)

    def _say_goodbye(self) -> None:
        # As a rule it wants to read: the peer has not said it yet.
        with contextlib.suppress(ssl.SSLError, OSError):
            self._tls.unwrap()
        self._flush()


_NOBODY: Final = asyncio.Protocol()
"""What is above once the connection is gone."""
