"""TLS on a connection: a protocol to the transport below, and a transport to the protocol above.

The event loop's own TLS has a buffer of 256 KiB, a timer and several objects for every connection, and copies what it
reads once more; here OpenSSL gets what was read and gives back what to write (docs/performance.md has the figures).
`secured_client` and `secured_instance` have what differs between the two edges.

OpenSSL's buffers keep the size that they once had. So they get one record at a time, whatever was read or is to be
written: a connection that carried a large body and is idle now costs as little as any.

Ends are told as TLS tells them: `close` sends what is left, then close_notify (RFC 8446 section 6.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

RECORD: Final = 16_384
"""Most bytes that one record carries (RFC 8446 section 5.1)."""
_SMALL: Final = 512
"""Fewer bytes are not worth a read of their own."""
_UNASKED: Final = 16
"""Times that one peer gets an answer of TLS itself: each attempt to renegotiate in TLS 1.2 gets one, read or not."""


class Secured(asyncio.Transport):
    """One connection; the base of both edges."""

    __slots__ = (
        "_above",
        "_closing",
        "_ended",
        "_held",
        "_incoming",
        "_outgoing",
        "_shaken",
        "_tls",
        "_unasked",
        "transport",
    )

    transport: asyncio.Transport
    """The one below."""

    def __init__(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, tls: ssl.SSLObject, above: asyncio.Protocol
    ) -> None:
        """`tls` reads from `incoming` and writes to `outgoing`."""
        self._above = above
        self._incoming = incoming
        self._outgoing = outgoing
        self._tls = tls
        self._shaken = self._closing = self._ended = False
        self._unasked = 0
        self._held = False
        """Something is in `_outgoing` that can wait for the next write."""

    # --- what differs between the edges

    def _begin(self) -> None:
        """The connection is there; the handshake comes first."""
        raise NotImplementedError

    def _established(self) -> None:
        """The handshake is done: send what it has left, or hold it, and begin what is above."""
        raise NotImplementedError

    def _refused(self, error: Exception) -> None:
        """The handshake has failed; the alert that says why has been sent."""

    def _cut_off(self) -> None:
        """The peer has ended the connection without a word in TLS."""

    def _lost_early(self, exc: Exception | None) -> None:
        """The connection is gone before its handshake was done."""

    def _read_rest(self) -> None:
        """The connection has failed: something may have come before that and was not read."""

    # --- the protocol of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast(asyncio.Transport, transport)
        self._begin()

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
            self._cut_off()
            self._closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if exc is not None and self._shaken and not self._closing:
            self._read_rest()
        self._ended = self._closing = True
        if self._shaken:
            self._above.connection_lost(exc)
        else:
            self._lost_early(exc)
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
        """Of the transport below, and "ssl_object" and "sslcontext"."""
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        return self.transport.get_extra_info(name, default)

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
        """Send what is left, and say that nothing follows."""
        if self._closing:
            return
        if not self._shaken:
            self.transport.abort()
            return
        self._closing = True
        self._say_goodbye()
        self._leave()

    def _leave(self) -> None:
        """close_notify has been said."""
        self.transport.close()

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
        except (ssl.SSLError, OSError) as error:
            # OpenSSL has left an alert that says why.
            self._closing = True
            self._flush()
            self.transport.close()
            self._refused(error)
            return False
        self._shaken = True
        self._established()
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
