"""Connections to instances on Unix sockets of this node, below allowed folders only.

An instance must not lead requests to any socket of the node, such as that of a container engine. A path may have links,
and a process that may write to the folder can change it at any time. So the socket is opened first (O_PATH), the
kernel names the path that this led to, and the connection is made to the opened socket.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dataplane.proxy.address import UNIX
from dataplane.proxy.descriptors import EXHAUSTED

_OPEN_ONLY: Final[int] = getattr(os, "O_PATH", 0)
"""Opens a file without access to its content. Linux has it; 0 elsewhere."""
_REASONS: Final[Mapping[int, str]] = {
    errno.ENOENT: "there is no such socket",
    errno.ENOTDIR: "there is no such socket",
    errno.EACCES: "not permitted: the user of the data plane needs write access to the socket and search access to "
    "its folders",
    errno.ECONNREFUSED: "nothing listens on it",
    errno.EPROTOTYPE: "not a stream socket",
}


class BacklogFull(OSError):
    """The service has not accepted earlier connections yet. Over TCP the kernel would try again."""


class UnixSockets:
    """The sockets that may be connected to."""

    def __init__(self, folders: Iterable[str] = ()) -> None:
        """`folders` are absolute: sockets in and below them are allowed. None: no socket is."""
        named = [Path(folder) for folder in folders]
        self._real = tuple(f"{folder.resolve()}/" for folder in named)
        self._named = self._real + tuple(f"{folder}/" for folder in named)

    def connect(self, address: str) -> socket.socket:
        """A connection to `unix:/path`; it does not block.

        Raises OSError with the reason: without an errno, unless this process lacks something (EXHAUSTED). BacklogFull:
        it may succeed later.
        """
        path = address.removeprefix(UNIX)
        # By its text first: nobody learns from the error which files exist elsewhere.
        if not _OPEN_ONLY or ".." in path.split("/") or not path.startswith(self._named):
            raise _forbidden(address)
        try:
            opened = os.open(path, _OPEN_ONLY | os.O_CLOEXEC)
            try:
                return self._connected(address, opened)
            finally:
                os.close(opened)
        except BlockingIOError:
            raise BacklogFull(f"{address}: its backlog is full") from None
        except OSError as error:
            if error.errno is None or error.errno in EXHAUSTED:
                raise
            raise OSError(f"{address}: {_REASONS.get(error.errno, error.strerror)}") from None

    def _connected(self, address: str, opened: int) -> socket.socket:
        place = Path(f"/proc/self/fd/{opened}")
        if not str(place.readlink()).startswith(self._real):
            raise _forbidden(address)
        if not stat.S_ISSOCK(os.fstat(opened).st_mode):
            raise OSError(f"{address}: not a socket")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(str(place))
        except OSError:
            connection.close()
            raise
        return connection


def _forbidden(address: str) -> OSError:
    return OSError(
        f"{address}: not connected to, because UNIX_SOCKETS of the data plane names no folder of it"
    )
