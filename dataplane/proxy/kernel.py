"""What the kernel knows of a connection that nothing is read from."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

CLOSED: Final = 7
CLOSE_WAIT: Final = 8
"""States of a connection (linux/tcp_states.h): reset, and ended by the peer's side alone."""
_TCP_INFO: Final[int] = getattr(socket, "TCP_INFO", -1)
"""Linux has it; -1 elsewhere."""


def tcp_state(transport: asyncio.BaseTransport) -> int | None:
    """The connection's state; None where the system does not tell."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None or _TCP_INFO < 0:
        return None
    return raw.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0]


def is_broken(transport: asyncio.BaseTransport) -> bool:
    """Whether an error waits for the next read or write, such as a reset."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    return raw is not None and raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def unread(transport: asyncio.BaseTransport) -> int:
    """Bytes that have come and wait to be read (ioctl_tcp(7), SIOCINQ)."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is None:
        return 0
    found: int = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]
    return found
