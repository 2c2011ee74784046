"""Host, or a wire format's equivalent: the authority of a request (RFC 9110 section 7.2)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from dataplane.proxy.messages import BadRequest, Request

_AUTHORITY: Final = re.compile(
    rb"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,254}?)\.?"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)
_MAX_HOSTS: Final = 1_000
_hosts: Final[dict[bytes, str]] = {}


def is_authority(value: bytes) -> bool:
    """Whether it could be a Host: a name or address, perhaps with a port."""
    found = _AUTHORITY.fullmatch(value)
    return found is not None and _is_host(found["host"])


def read_host(request: Request, authority: bytes | None) -> None:
    """The effective authority, as routes match it; required in HTTP/1.1."""
    if not authority:
        if request.http11:
            raise BadRequest(400, "no Host")
        authority = b""
    request.authority = authority
    request.host = _hosts[authority] if authority in _hosts else _host(authority)


def _is_host(host: bytes) -> bool:
    """Whether the text is a valid name or address (RFC 3986 section 3.2.2)."""
    if not host.startswith(b"["):
        return True
    try:
        IPv6Address(host[1:-1].decode("ascii"))
    except ValueError:
        return False
    return True


def _host(authority: bytes) -> str:
    """Lower case, without port: RFC 9110 section 7.2. Cached, because a gateway sees few of them."""
    found = _AUTHORITY.fullmatch(authority)
    if authority and (found is None or not _is_host(found["host"])):
        raise BadRequest(400, "malformed Host")
    host = found["host"].decode("ascii").lower() if found else ""
    if len(_hosts) >= _MAX_HOSTS:
        _hosts.clear()
    _hosts[authority] = host
    return host
