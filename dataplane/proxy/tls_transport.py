"""TLS on a connection: a protocol to the transport below, and a transport to the protocol above.

The event loop's own TLS has a buffer of 256 KiB, a timer and several objects for every connection, and copies each read
once more. Here OpenSSL takes the bytes received and returns the bytes to send (figures are in
docs/explanation/performance.md). `tls_downstream` and `tls_upstream` implement the differences between the two edges.

OpenSSL's buffers never shrink. So they get one record at a time, however much is read or written: an idle connection
that has carried a large body takes no more memory than others.

`close` sends the remaining bytes, then close_notify (RFC 8446 section 6.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

from dataplane.proxy.tls import ASKED_FOR

RECORD: Final = 16_384
"""Most bytes that one record carries (RFC 8446 section 5.1)."""
_SMALL: Final = 512
"""Fewer bytes are not worth a read of their own."""
_UNASKED: Final = 16
"""Most TLS messages sent to one peer in reply to its own, such as attempts to renegotiate in TLS 1.2."""


class TlsTransport(asyncio.Transport):
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
    """The transport of the TCP connection."""

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
        """Whether `_outgoing` has records that can wait for the next write."""

    # --- differences between the edges

    def _begin(self) -> None:
        """The connection is open: begin the handshake."""
        raise NotImplementedError

    def _established(self) -> None:
        """The handshake is complete: send or hold its last records, and start the protocol above."""
        raise NotImplementedError

    def _refused(self, error: Exception) -> None:
        """The handshake has failed, and the alert has been sent."""

    def _cut_off(self) -> None:
        """The peer has ended the connection without close_notify."""

    def _lost_early(self, exc: Exception | None) -> None:
        """The connection was lost during the handshake."""

    def _read_rest(self) -> None:
        """The connection has failed: read the bytes received before that."""

    # --- the protocol of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self.transport = cast(asyncio.Transport, transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Records, complete or in part, have arrived."""
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
        """The peer has ended the connection, perhaps without close_notify."""
        self._ended = True
        if self._shaken and not self._closing:
            self._cut_off()
            self._closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost."""
        if exc is not None and self._shaken and not self._closing:
            self._read_rest()
        self._ended = self._closing = True
        if self._shaken:
            self._above.connection_lost(exc)
        else:
            self._lost_early(exc)
        # It refers to this transport: break the cycle.
        self._above = _NOBODY

    def pause_writing(self) -> None:
        """The write buffer is above its high-water mark."""
        if self._shaken:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """The write buffer is below its low-water mark."""
        if self._shaken and not self._closing:
            self._above.resume_writing()

    # --- the transport of the protocol above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The information of the transport below, and "ssl_object", "sslcontext" and "server_name" (SNI)."""
        if name == "ssl_object":
            return self._tls
        if name == "server_name":
            return getattr(self._tls, ASKED_FOR, default)
        if name == "sslcontext":
            return self._tls.context
        return self.transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol above."""
        self._above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol above."""
        return self._above

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the transport below."""
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes in the write buffer."""
        return self.transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        return self._closing or self.transport.is_closing()

    def is_reading(self) -> bool:
        """Whether it is not paused."""
        return self.transport.is_reading()

    def pause_reading(self) -> None:
        """Pause reading. Everything read so far has been passed to the protocol."""
        if not self._closing:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading."""
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
        """Send the remaining bytes and close_notify, then close."""
        if self._closing:
            return
        if not self._shaken:
            self.transport.abort()
            return
        self._closing = True
        self._say_goodbye()
        self._leave()

    def _leave(self) -> None:
        """Close the connection, after close_notify."""
        self.transport.close()

    def abort(self) -> None:
        """Close the connection at once, without close_notify."""
        self._closing = True
        self.transport.abort()

    # --- inside

    def _over(self) -> bool:
        return self._closing or self._ended

    def _take(self, data: bytes | memoryview[int], pieces: list[bytes], size: int) -> None:
        """Process a record, or a part of one."""
        self._incoming.write(data)
        if self._shaken or self._shake():
            self._decrypt(pieces, size)

    def _shake(self) -> bool:
        """Advance the handshake. True when it is complete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, OSError) as error:
            # OpenSSL has written an alert with the reason.
            self._closing = True
            self._flush()
            self.transport.close()
            self._refused(error)
            return False
        self._shaken = True
        self._established()
        return True

    def _decrypt(self, pieces: list[bytes], size: int) -> None:
        """Decrypt the received records, `size` bytes at a time."""
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
        """Send a reply of TLS itself. Abort after too many: a peer that does not read them would fill the memory."""
        self._unasked += 1
        if self._unasked > _UNASKED:
            self.abort()
        else:
            self._flush()

    def _hand_over(self, pieces: list[bytes]) -> None:
        """Pass the decrypted bytes to the protocol above, in one piece, and the end."""
        if pieces and not self._closing:
            self._above.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ended and not self._closing:
            self._above.eof_received()
            self.close()

    def _encrypt(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Encrypt one record at a time, the most that OpenSSL takes in one call."""
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
        # Usually raises SSLWantReadError: the peer has not sent its close_notify yet.
        with contextlib.suppress(ssl.SSLError, OSError):
            self._tls.unwrap()
        self._flush()


_NOBODY: Final = asyncio.Protocol()
"""The protocol above once the connection is lost."""
