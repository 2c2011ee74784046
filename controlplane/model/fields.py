"""The kinds of text that fields hold: names, paths, hosts, methods, addresses.

Bounds are part of the types, so that they reach OpenAPI, and no field is unbounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Annotated, Final, TypeVar

from cryptography import x509
from pydantic import AfterValidator, Field, Strict, ValidationInfo
from pydantic_core import PydanticCustomError

from controlplane.model.words import PATTERNS

T = TypeVar("T")


STORED: Final = "stored"
"""The context of a validation: the value was accepted before, perhaps by an earlier version with fewer rules."""


def pattern(expression: str, words: str) -> str:
    """A pattern, with its meaning in words for problems."""
    PATTERNS[expression] = words
    return expression


def _checked(complaint: Callable[[str], str | None]) -> AfterValidator:
    """A validator of text from a function that returns the problem."""

    def check(text: str) -> str:
        if detail := complaint(text):
            raise PydanticCustomError("text", "{detail}", {"detail": detail})
        return text

    return AfterValidator(check)


NAME = pattern(
    r"^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$",
    "1 to 253 lower-case letters, digits, '.', '_' or '-', with a letter or digit at both ends",
)
SCOPE = pattern(
    r"^[a-z0-9]([a-z0-9._:-]{0,61}[a-z0-9])?$",
    "1 to 63 lower-case letters, digits, '.', '_', '-' or ':', with a letter or digit at both ends",
)
USERNAME = pattern(r"^[A-Za-z0-9._@-]{1,64}$", "1 to 64 letters, digits, '.', '_', '@' or '-'")
HEADER = pattern(
    r"^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$",
    "the name of a header field in lower case, like x-client (RFC 9110, 5.1)",
)
UPGRADE = pattern(
    r"^[a-z0-9!#$%&'*+.^_`|~-]{1,32}(/[a-z0-9!#$%&'*+.^_`|~-]{1,32})?$",
    "the name of a protocol in lower case, like websocket (RFC 9110, 7.8)",
)
ENFORCE = pattern(
    r"^(on|shadow|(100|[1-9]?[0-9])%)$",
    "on, shadow, or a share of the keys from 0% to 100%",
)
VISIBLE = pattern(r"^[!-~]([ -~]*[!-~])?$", "visible ASCII characters, and blanks between them")
COOKIE = pattern(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", "the name of a cookie (RFC 6265, 4.1.1)")
PARAMETER = pattern(r"^[^\x00-\x1f\x7f]{1,256}$", "1 to 256 characters without control characters")
LABEL = pattern(r"^[A-Za-z0-9._/-]{1,63}$", "1 to 63 letters, digits, '.', '_', '/' or '-'")
LABEL_VALUE = pattern(
    r"^[A-Za-z0-9._/@:+-]{0,63}$", "0 to 63 letters, digits, '.', '_', '/', '@', ':', '+' or '-'"
)
OBJECT = pattern(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    "1 to 63 lower-case letters, digits or '-', with a letter or digit at both ends (RFC 1123)",
)
DNS_NAME = pattern(
    r"^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.){0,31}[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$",
    "a DNS name in lower case, like orders.example.org, without a dot at the end",
)

_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})*")
_TRIPLET = re.compile(r"%[0-9A-Fa-f]{2}")
_UNMATCHED = re.compile(r"%(?:[01][0-9A-F]|7F|2F|5C|3B|25[0-9A-F]{2})", re.IGNORECASE)
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@")

_FORMER_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")

UNIX: Final = "unix:"
"""A host that begins with it is a Unix socket of the data plane's node: an absolute path follows. There is no port."""
_SOCKET = re.compile(r"(/[A-Za-z0-9._~@:+=,-]+)+")
_FILE = re.compile(r"[A-Za-z0-9._~@+=,-]+(/[A-Za-z0-9._~@+=,-]+)*")
LONGEST_SOCKET: Final = 107
"""Bytes of a path that the address of a socket holds (unix(7), sun_path)."""

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "PURGE"),
)
"""Methods that data planes support; they answer any other with 501 before they look for a route."""


def _host_complaint(text: str) -> str | None:
    if text != text.lower():
        return "must be in lower case"
    if not _HOST.fullmatch(text):
        return "must be a host name without port, or '*.' and the end of one"
    return None


def _path_complaint(text: str) -> str | None:
    if not text.startswith("/"):
        return "must start with '/'"
    for character, reason in (("?", "a query"), (";", "parameters"), ("#", "a fragment")):
        if character in text:
            return f"must not contain {reason} ({character!r})"
    if not _PATH.fullmatch(text):
        return "must contain only characters that a path may hold (RFC 3986, 3.3); others are percent-encoded"
    if found := _UNMATCHED.search(text):
        return f"must not contain {found[0]!r}: the gateway answers such requests with 400"
    if (canonical := _TRIPLET.sub(_canonical, text)) != text:
        return f"must be written {canonical!r}, the form that requests are matched in"
    if "//" in text:
        return "must not contain '//'"
    if any(segment in (".", "..") for segment in text.split("/")):
        return "must not contain the segments '.' and '..'"
    return None


def _canonical(triplet: re.Match[str]) -> str:
    """A percent-encoded character as data planes match it: bare where RFC 3986 allows that in a segment."""
    character = chr(int(triplet[0][1:], 16))
    return character if character in _BARE else triplet[0].upper()


def method_complaint(text: str) -> str | None:
    """The problem of a method in a newly written route."""
    if text not in METHODS:
        return f"must be a method that the gateway serves: {', '.join(METHODS)}"
    return None


def _check_method(text: str, info: ValidationInfo) -> str:
    # Routes in the store may hold any method: no request with an unsupported one reaches a route, and if it were
    # dropped, a route without another method would match every method.
    if not (info.context == STORED and _FORMER_METHOD.fullmatch(text)) and (detail := method_complaint(text)):
        raise PydanticCustomError("text", "{detail}", {"detail": detail})
    return text


def _prefix_complaint(text: str) -> str | None:
    if (complaint := _path_complaint(text)) is None and text.endswith("/") and text != "/":
        return f"must not end with '/': {text.rstrip('/')!r} matches whole path segments already"
    return complaint


def _socket_complaint(path: str) -> str | None:
    if not _SOCKET.fullmatch(path) or {".", ".."} & set(path.split("/")):
        return "must be unix: and the absolute path of a socket, of letters, digits and ._~@:+=,- without '.' and '..'"
    if len(path) > LONGEST_SOCKET:
        return f"must have at most {LONGEST_SOCKET} characters after unix:"
    return None


def _address_complaint(text: str) -> str | None:
    if text.startswith(UNIX):
        return _socket_complaint(text.removeprefix(UNIX))
    try:
        ip_address(text)
    except ValueError:
        if text.startswith("*") or not _HOST.fullmatch(text.lower()) or re.fullmatch(r"[0-9.]+", text):
            return "must be an IP address or a host name, without port or brackets, or unix:/path"
    return None


def _upgrade_complaint(text: str) -> str | None:
    if text.partition("/")[0] in ("h2c", "http", "tls"):
        return f"must not be {text!r}: requests would bypass the checks of the gateway"
    return None


def _host_name_complaint(text: str) -> str | None:
    if text.startswith("*") or not _HOST.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        return "must be a host name in lower case, without port or '*'"
    return None


def _certificates_complaint(text: str) -> str | None:
    if "PRIVATE KEY" in text:
        return "must hold only certificates, but holds a private key"
    try:
        x509.load_pem_x509_certificates(text.encode("ascii"))
    except ValueError:
        return "must be one or more certificates in PEM"
    return None


def _file_complaint(text: str) -> str | None:
    if not _FILE.fullmatch(text) or any(segment in (".", "..") for segment in text.split("/")):
        return "must be a relative path like shop/tls.crt, without '.', '..' and empty segments"
    return None


def _network_complaint(text: str) -> str | None:
    try:
        ip_network(text)
    except ValueError:
        return "must be a network like 10.0.0.0/8 or 2001:db8::/32, without host bits"
    return None


Name = Annotated[str, Field(pattern=NAME)]
Network = Annotated[str, Field(max_length=64), _checked(_network_complaint)]
ScopeName = Annotated[str, Field(pattern=SCOPE)]
Username = Annotated[str, Field(pattern=USERNAME)]
Method = Annotated[
    str, Field(max_length=32, json_schema_extra={"enum": list(METHODS)}), AfterValidator(_check_method)
]
Parameter = Annotated[str, Field(pattern=PARAMETER)]
HeaderName = Annotated[str, Field(pattern=HEADER)]
Label = Annotated[str, Field(pattern=LABEL)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE)]
Host = Annotated[str, Field(max_length=253), _checked(_host_complaint)]
PathText = Annotated[str, Field(max_length=1024), _checked(_path_complaint)]
Prefix = Annotated[str, Field(max_length=1024), _checked(_prefix_complaint)]
Upgrade = Annotated[str, Field(pattern=UPGRADE), _checked(_upgrade_complaint)]
HostName = Annotated[str, Field(max_length=253), _checked(_host_name_complaint)]
Certificates = Annotated[str, Field(max_length=65_536), _checked(_certificates_complaint)]
Address = Annotated[str, Field(max_length=253), _checked(_address_complaint)]
RelativeFile = Annotated[str, Field(max_length=512), _checked(_file_complaint)]

AsList = Strict(False)
"""On a tuple: a list will do (JSON has no tuples). Its members stay strict."""


def _unique(items: tuple[T, ...]) -> tuple[T, ...]:
    for position, item in enumerate(items):
        if item in items[:position]:
            named = repr(item) if isinstance(item, str | int) else repr(str(item))
            raise PydanticCustomError("unique", "{item} is there twice", {"item": named})
    return items


Unique = AfterValidator(_unique)
"""On a tuple: no member twice."""
