"""The types of settings: how a variable's text becomes a value, and the sentence about a wrong one."""

from __future__ import annotations

import os
import re
import ssl
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from dataplane.observe.line_format import FormatError, field_name, read_format
from dataplane.proxy.fields.kinds import COOKIE, REQUEST
from dataplane.redis.options import read_url


def wrong(detail: str) -> PydanticCustomError:
    """The error that says so of a variable."""
    # Braces are placeholders to pydantic.
    return PydanticCustomError("setting", "{detail}", {"detail": detail})


_HOST = re.compile(r"\[[^\[\]/\s]+\]|[^\[\]/:@\s]+")
"""A name or an address, an IPv6 address in brackets; no URL."""
_NODE = (
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    "must be up to 128 letters, digits, '.', '_' or '-', the first one a letter or a digit",
)
_REDIS_HOST = (
    _HOST.pattern,
    "must be a host name or an address without a port (IPv6 in brackets): set the port in REDIS_PORT, or everything "
    "in REDIS_URL",
)
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\*?")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")
_KEY_PREFIX = r"[!-z|~]{0,64}", "must be up to 64 printable ASCII characters without spaces and braces"


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if (
        not colon
        or not _HOST.fullmatch(host)
        or not re.fullmatch(r"[0-9]{1,5}", port)
        or not 0 < int(port) < 65536
    ):
        raise wrong(f"{value!r} is not host:port")
    return value


def _matching(pattern: str, otherwise: str) -> AfterValidator:
    """Text that matches as a whole; anything else is told as `otherwise`."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise wrong(otherwise)
        return value

    return AfterValidator(check)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _places(value: object) -> object:
    if isinstance(value, str) and not _split(value):
        raise wrong("must name at least one file")
    return _split(value)


def _addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_address(address) for address in value)


def _networks(value: object) -> object:
    try:
        return tuple(ip_network(str(part)) for part in value) if isinstance(value, tuple) else value
    except ValueError as error:
        raise wrong(str(error)) from None


def _folders(value: tuple[str, ...]) -> tuple[str, ...]:
    for folder in value:
        if not re.match("/[^/]", folder) or {".", ".."} & set(folder.split("/")):
            raise wrong(
                f"{folder!r} is not the absolute path of a folder: one '/', names, no '.' and no '..'"
            )
    return value


def _field_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _FIELD_NAME.fullmatch(name):
            raise wrong(f"{name!r} must be a field name, or a prefix that ends with *")
        if REQUEST.get(name.lower().encode(), COOKIE) != COOKIE:
            raise wrong(f"{name!r} must not be listed: the gateway reads it and never forwards it unchanged")
    return value


def _log_format(value: str) -> str:
    try:
        read_format(value)
    except FormatError as error:
        raise wrong(str(error)) from None
    return value


def _log_fields(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        names = tuple(map(field_name, value))
    except FormatError as error:
        raise wrong(str(error)) from None
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise wrong(f"{twice[0]!r} is listed twice")
    return names


def _secret_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _SECRET_NAME.fullmatch(name):
            raise wrong(f"{name!r} must be the name of a header or of a query parameter")
    return value


def _log_file(value: Path) -> Path:
    if value.is_dir():
        raise wrong(f"{value} is a folder")
    if not value.parent.is_dir():
        raise wrong(f"the folder {value.parent} does not exist")
    if not os.access(value if value.exists() else value.parent, os.W_OK):
        raise wrong(f"cannot write {value}: Permission denied")
    return value


def _content(value: Path) -> bytes:
    try:
        return value.read_bytes()
    except OSError as error:
        raise wrong(f"cannot read {value}: {error.strerror}") from None


def _readable(value: Path) -> Path:
    _content(value)
    return value


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(_readable(value)))
    except ssl.SSLError:
        raise wrong(f"{value} holds no PEM certificate") from None
    return value


def _token(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 16:
        raise wrong("must be at least 16 characters long")
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise wrong("must hold visible ASCII characters only: it is sent in a header")
    return value


def read_token(file: Path) -> SecretStr:
    """The credential in a file: its first line that is neither empty nor begins with #. Raises ValueError."""
    lines = map(bytes.strip, _content(file).splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    try:
        return _token(SecretStr(first.decode("ascii", "replace")))
    except PydanticCustomError as error:
        raise wrong(f"{file}: the credential {error}") from None


def _redis_url(value: SecretStr) -> SecretStr:
    try:
        read_url(value.get_secret_value())
    except ValueError as error:
        raise wrong(str(error)) from None
    return value


def _holds_token(value: Path) -> Path:
    read_token(value)
    return value


Address = Annotated[str, AfterValidator(_address)]
"""host:port; an IPv6 address in brackets."""
Addresses = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), Field(min_length=1), AfterValidator(_addresses)
]
Places = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_places)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks), BeforeValidator(_split)
]
Folders = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_folders)]
FieldNames = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), Field(max_length=100), AfterValidator(_field_names)
]
LogFormat = Annotated[str, Field(max_length=10_000), AfterValidator(_log_format)]
LogFields = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), Field(max_length=100), AfterValidator(_log_fields)
]
LogFile = Annotated[Path, AfterValidator(_log_file)]
SecretNames = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), Field(max_length=100), AfterValidator(_secret_names)
]
Certificates = Annotated[Path, AfterValidator(_certificates)]
KeyFile = Annotated[Path, AfterValidator(_readable)]
TokenFile = Annotated[Path, AfterValidator(_holds_token)]


Duration = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
"""Seconds."""
NodeName = Annotated[str, _matching(*_NODE)]
RedisHost = Annotated[str, _matching(*_REDIS_HOST)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
KeyPrefix = Annotated[str, _matching(*_KEY_PREFIX)]
Token = Annotated[SecretStr, AfterValidator(_token)]
"""At least 16 visible ASCII characters."""


def split_address(address: str) -> tuple[str, int]:
    """Host, without brackets, and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
