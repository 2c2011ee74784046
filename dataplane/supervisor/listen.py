"""Listening sockets. The supervisor binds them first, so that a port in use is reported before anything starts."""

from __future__ import annotations

import os
import socket


class ListenError(Exception):
    """An address that cannot be listened on; the message is for the operator."""


class TrafficPort:
    """The traffic address: a socket for every worker, bound to it with SO_REUSEPORT, so that each has its own queue.

    The supervisor keeps the sockets, so that the queue of a worker that ends passes to the next one: connections wait
    in the backlog meanwhile. A bound socket that never listens holds the address while no worker does.
    """

    def __init__(self, host: str, port: int, setting: str = "LISTEN") -> None:
        """Raises ListenError, naming `setting`, when the address cannot be bound or another process listens on it."""
        with listen(host, port, setting):
            pass  # SO_REUSEPORT alone would allow sharing the port with another process
        self._address = (host, port)
        self._setting = setting
        self._holder = _bound(host, port, setting, share=True)
        self._sockets: dict[int, socket.socket] = {}

    def socket(self, index: int) -> socket.socket:
        """The socket of the worker with this index, to be inherited and not closed; the first one has it listen."""
        found = self._sockets.get(index)
        if found is None:
            found = self._sockets[index] = _bound(*self._address, self._setting, share=True)
        return found

    def release(self, index: int) -> None:
        """Close the socket of a worker that will not restart soon: new connections go to the others."""
        found = self._sockets.pop(index, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Release the address; running workers still have it."""
        for index in list(self._sockets):
            self.release(index)
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
