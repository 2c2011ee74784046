"""The kernel's state of a connection that is not being read."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from typing import Final

CLOSED: Final = 7
CLOSE_WAIT: Final = 8
"""States of a connection (linux/tcp_states.h): reset, and ended by the peer's side alone."""
_TCP_INFO: Final[int] = getattr(socket, "TCP_INFO", -1)
"""Linux has it; -1 elsewhere."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: close by a reset (socket(7))."""
_BYTES_ACKED: Final = 120
_BYTES_RECEIVED: Final = 128
"""Offset of tcpi_bytes_acked and tcpi_bytes_received in struct tcp_info (linux/tcp.h)."""


def tcp_state(transport: asyncio.BaseTransport) -> int | None:
    """The connection's state; None where the system does not report it."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or _TCP_INFO < 0:
        return None
    return raw.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0]


def rest(transport: asyncio.BaseTransport) -> bytes:
    """The bytes received on a connection that the event loop no longer reads; empty without any, and with TLS."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or transport.get_extra_info("sslcontext") is not None:
        return b""
    try:
        return os.read(raw.fileno(), 65_536)
    except OSError:
        return b""


def acknowledged(transport: asyncio.BaseTransport) -> int:
    """Bytes that the peer has acknowledged since the connection began; 0 where the system does not report it."""
    return _counter(transport, _BYTES_ACKED)


def received(transport: asyncio.BaseTransport) -> int:
    """Bytes received since the connection began; 0 where the system does not report it."""
    return _counter(transport, _BYTES_RECEIVED)


def _counter(transport: asyncio.BaseTransport, offset: int) -> int:
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or raw.fileno() < 0 or _TCP_INFO < 0:
        return 0
    info = raw.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, offset + 8)
    found: int = struct.unpack_from("=Q", info, offset)[0]
    return found


def unconfirmed(transport: asyncio.BaseTransport) -> int:
    """Bytes in the send queue that the peer has not acknowledged (ioctl_tcp(7), SIOCOUTQ)."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or raw.fileno() < 0:
        return 0
    found: int = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return found


def is_broken(transport: asyncio.BaseTransport) -> bool:
    """Whether the socket has a pending error, such as a reset."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    return raw is not None and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def unread(transport: asyncio.BaseTransport) -> int:
    """Bytes in the receive queue (ioctl_tcp(7), SIOCINQ)."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None:
        return 0
    found: int = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]
    return found


def reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Close this connection by a reset, so that a response that ends by closing cannot look complete."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
