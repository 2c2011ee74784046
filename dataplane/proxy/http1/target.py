"""The target of a request (RFC 9112 section 3.2): the form that routes match, and the form that is forwarded."""

from __future__ import annotations

from typing import Final

from dataplane.proxy.fields.host import read_host
from dataplane.proxy.messages import SERVER, BadRequest, Request
from dataplane.proxy.normal_path import BadPath, match_form, normal_form

_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,:;=@/?%"
"""Characters that RFC 3986 allows in a path and a query."""
_OTHER: Final = 1
_SORTED: Final = bytes(0 if byte in _PLAIN else _OTHER for byte in range(256))
"""Distinguishes plain bytes from others, with one look-up for each byte; deleting the plain ones costs three times as
much."""


def is_plain_target(target: bytes) -> bool:
    """Whether RFC 3986 lets a path and its query consist of these bytes."""
    return _OTHER not in target.translate(_SORTED)


def read_path(request: Request, target: bytes, plain: bool) -> None:
    """`plain`: it `is_plain_target`."""
    end = target.find(b"?")
    if end < 0:
        end = len(target)
    elif b"#" in target:
        raise BadRequest(400, "fragment in the target")
    before = target[:end].decode("latin-1")
    try:
        path = normal_form(before, plain)
    except BadPath as bad:
        raise BadRequest(400, f"path: {bad}") from None
    request.target = target if path is before else path.encode("latin-1") + target[end:]
    request.path = path
    if not plain or path is not before:
        # A percent sign is part of a triplet, which normal_form rewrites: a path that it returns unchanged has none.
        request.path = match_form(path)
        if request.path != path:
            request.sent_path = path
    if request.provenance is not None and not request.provenance.max_forwards:
        request.path = SERVER


def read_other_form(request: Request, target: bytes, authority: bytes | None) -> bytes | None:
    """A target that is not a path. Returns the effective authority: that of a URL takes precedence over Host.

    RFC 9112 sections 3.2.2 and 3.2.4. One Host field is required nevertheless (section 3.2).
    """
    options = request.method == "OPTIONS"
    if options and target == b"*":
        request.path, request.target = SERVER, target
        return authority
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadRequest(400, "target is neither a path nor an http URL")
    read_host(request, authority)
    end = min((i for i in (rest.find(b"/"), rest.find(b"?"), rest.find(b"#")) if i >= 0), default=len(rest))
    path = rest[end:]
    if options and not path:
        request.path, request.target = SERVER, b"*"
    else:
        path = path if path.startswith(b"/") else b"/" + path
        read_path(request, path, is_plain_target(path))
    return rest[:end]
