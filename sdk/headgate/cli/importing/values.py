"""Reads values of a parsed file that may have any form, and makes texts that Headgate accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Final

METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "PURGE"),
)
"""Methods that data planes support."""
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_NOT_RE2 = re.compile(r"(?<!\\)(\(\?(?:[=!>|(#]|<[=!])|[*+?}]\+|\\[1-9]|\\[kgGKRXZ])")
_NAMED_GROUP = re.compile(r"(?<!\\)\(\?<(?![=!])")


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def objects(value: object, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects in a list, each with its place."""
    for position, entry in enumerate(entries(value)):
        if isinstance(entry, dict):
            yield f"{place}[{position}]", entry


def texts(value: object) -> list[str]:
    """The texts and numbers in a list, or the one text."""
    several = value if isinstance(value, list) else [value]
    return [str(one) for one in several if isinstance(one, str | int | float) and not isinstance(one, bool)]


def text(value: object, default: str = "") -> str:
    """The text."""
    return value if isinstance(value, str) else default


def number(value: object, default: float) -> float:
    """The number, also if it is written as a text."""
    if isinstance(value, bool):
        return default
    try:
        found = float(value) if isinstance(value, int | float | str) else default
    except ValueError:
        return default
    return found if abs(found) < 1e15 else default


def whole(value: object, default: int, least: int, most: int) -> int:
    """The number as an integer within bounds."""
    return max(least, min(most, int(number(value, default))))


def seconds(value: float, least: float, most: float) -> float:
    """The duration within bounds."""
    return max(least, min(most, round(value, 3)))


def host_name(value: object) -> str | None:
    """A name that `rewrite_host` accepts: not an address, in lower case."""
    name = text(value).lower()
    fits = len(name) <= 253 and _HOST.fullmatch(name) and not re.fullmatch(r"[0-9.]+", name)
    return name if fits else None


def host_match(value: str) -> str | None:
    """A host for `hosts`, or None if it has another form."""
    name = value.lower()
    return name if len(name) <= 253 and _HOST.fullmatch(name.removeprefix("*.")) else None


def path_text(value: str) -> str | None:
    """A path that Headgate accepts, or None."""
    wrong = "//" in value or any(segment in (".", "..") for segment in value.split("/"))
    return value if _PATH.fullmatch(value) and len(value) <= 1024 and "%" not in value and not wrong else None


def header_name(value: str) -> str | None:
    """The name of a header field in lower case, or None."""
    name = value.strip().lower()
    return name if _HEADER.fullmatch(name) else None


def visible(value: str) -> str | None:
    """A value of a header field, or None."""
    value = value.strip()
    return value if 0 < len(value) <= 4096 and re.fullmatch(r"[ -~]+", value) else None


def network(value: str) -> str | None:
    """An address or a network as Headgate writes it, or None."""
    try:
        return str(ip_network(value.strip(), strict=False))
    except ValueError:
        return None


def quoted(value: str) -> str:
    """The text as a regular expression that matches only it."""
    return _SPECIAL.sub(r"\\\g<0>", value)


def expression(value: str) -> str | None:
    """A regular expression as RE2 reads it, or None if RE2 lacks something in it.

    The command line has no RE2: the control plane has the last word.
    """
    value = _NAMED_GROUP.sub("(?P<", value)
    if _NOT_RE2.search(value) or not 0 < len(value) <= 1000:
        return None
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return None
    return value


def shortened(value: object) -> str:
    """A description within its bound."""
    return " ".join(text(value).split())[:500]


def resolve(root: Mapping[str, Any], reference: str) -> object:
    """What a reference within the file points to (RFC 6901)."""
    found: object = root
    for step in reference.removeprefix("#/").split("/") if reference.startswith("#/") else ("",):
        found = mapping(found).get(step.replace("~1", "/").replace("~0", "~"))
    return found
