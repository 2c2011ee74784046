"""Listening sockets. The supervisor binds, so that a port in use is told before anything else is started."""

from __future__ import annotations

import os
import socket


class ListenError(Exception):
    """An address that cannot be listened on; the message is for the operator."""


class TrafficPort:
    """The traffic address: one socket per worker, all bound to it with SO_REUSEPORT, so that each has its own queue.

    A bound socket that never listens holds the address while no worker does.
    """

    def __init__(self, host: str, port: int, setting: str = "LISTEN") -> None:
        """Raises ListenError, naming `setting`, when the address cannot be bound, or anybody listens on it."""
        with listen(host, port, setting):
            pass  # SO_REUSEPORT would let us share the port with a stranger
        self._address = (host, port)
        self._setting = setting
        self._holder = self.socket()

    def socket(self) -> socket.socket:
        """A socket for one worker, bound and not listening yet; a crashed worker's queue dies with it."""
        return _bound(*self._address, self._setting, share=True)

    def close(self) -> None:
        """Give the address up."""
        self._holder.close()


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket, or ListenError that names the address, the reason and the setting to change."""
    bound = _bound(host, port, setting, share=False)
    try:
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise _listen_error(host, port, setting, error) from None
    return bound


def _bound(host: str, port: int, setting: str, *, share: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _listen_error(host, port, setting, error) from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _listen_error(host, port, setting, error) from None
    return made


def _listen_error(host: str, port: int, setting: str, error: OSError) -> ListenError:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
    return ListenError(f"cannot listen on {host}:{port} ({setting}): {reason}")
