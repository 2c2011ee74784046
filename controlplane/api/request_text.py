"""Turns the request that an operator describes into the parts of a head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from controlplane.api.problems import HttpError
from controlplane.fleet.questions import Explain

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 §5.6.2."""
_TARGET = re.compile(r"/[!-~]*")
_HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]+")
_VALUE = re.compile(r"[\t -~\x80-\U0010ffff]*")
LOCAL = "localhost"


def explain_of(method: str, url: str, headers: Mapping[str, str], token: str | None, client: str) -> Explain:
    """The question. HttpError 400 for parts that no head has; nothing of a header's value or a token is quoted."""
    if not _TOKEN.fullmatch(method):
        raise HttpError(400, "method: must be a method, such as GET")
    secure, host, target = _address(url)
    fields = _fields(headers)
    if token is not None:
        if any(name.lower() == "authorization" for name, _ in fields):
            raise HttpError(400, "token: there is a header Authorization already")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise HttpError(400, "token: must be printable ASCII without spaces")
        fields.append(("Authorization", f"Bearer {token}"))
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("Host", host))
    try:
        address = str(ip_address(client))
    except ValueError:
        raise HttpError(400, "client: must be an IP address") from None
    return Explain(method, target, tuple(fields), address, secure)


def _address(url: str) -> tuple[bool, str, str]:
    """Whether it uses TLS, its host, and its path with the query."""
    if url.startswith("/"):
        return False, LOCAL, _target(url.partition("#")[0])
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise HttpError(400, "url: is malformed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError(400, "url: must begin with http://, https:// or /")
    if "@" in parts.netloc:
        raise HttpError(400, "url: must have no user name and no password")
    if not _HOST.fullmatch(parts.netloc) or port == 0:
        raise HttpError(400, "url: the host is malformed")
    return parts.scheme == "https", parts.netloc, _target(_path(parts))


def _path(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.path or '/'}{query}"


def _target(target: str) -> str:
    if not _TARGET.fullmatch(target):
        raise HttpError(400, "url: other characters than printable ASCII must be percent-encoded")
    return target


def _fields(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise HttpError(400, "headers: a name is malformed")
        if not _VALUE.fullmatch(value):
            raise HttpError(400, f"headers: the value of {name} has control characters")
    return list(headers.items())
