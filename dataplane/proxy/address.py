"""The address of an instance in its notations: a host and a port, or a Unix socket of this node (`unix:/path`)."""

from __future__ import annotations

from typing import Final

UNIX: Final = "unix:"
"""A host that begins with it is a Unix socket: an absolute path follows, and the port is 0."""
_LOCAL: Final = "localhost"
"""The host of a Unix socket in requests and certificates, which know no paths."""


def shown(host: str, port: int) -> str:
    """The address for people and logs."""
    return host if host.startswith(UNIX) else f"{_bracketed(host)}:{port}"


def authority(host: str, port: int, usual: int = 0) -> str:
    """The address as a Host field has it, without the port if it is the `usual` one."""
    if host.startswith(UNIX):
        return _LOCAL
    return _bracketed(host) if port == usual else f"{_bracketed(host)}:{port}"


def certified_name(host: str) -> str:
    """The name that the certificate of an instance must hold, unless its service states another."""
    return _LOCAL if host.startswith(UNIX) else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
