"""Formats of the access log: which fields a line has, and which values must not be shown.

A format is `json`, or a text with fields in braces: `{client} "{method} {path}" {status}`. `{header:NAME}` is any field
of the request; braces themselves are doubled, as in Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Final
from urllib.parse import unquote_plus

from dataplane.observe.log_fields import CHOSEN, REQUEST

JSON: Final = "json"
COMBINED: Final = (
    '{client} - {subject} [{time_clf}] "{method} {path} {protocol}" {status} {sent}'
    ' "{referer}" "{user_agent}"'
)
"""The combined log of Apache and nginx, which many tools read."""
NAMES: Final = (*REQUEST, *CHOSEN)
"""Every field that a line may have, without those of the form `header:NAME`."""
MOST_FIELDS: Final = 100
SECRET_HEADERS: Final = frozenset(
    {
        *("accesstoken", "apikey", "authorization", "cookie", "privatetoken", "proxyauthorization"),
        *("secwebsocketprotocol", "xaccesstoken", "xamzsecuritytoken", "xapikey", "xauthtoken", "xcsrftoken"),
        *("xforwardedaccesstoken", "xgitlabtoken", "xgoogiapjwtassertion", "xvaulttoken", "xxsrftoken"),
    }
)
"""Fields of requests that are never shown, as `plain` writes them. Browsers send tokens as a subprotocol."""
SECRET_PARAMETERS: Final = frozenset(
    {
        *("accesstoken", "apikey", "apitoken", "assertion", "auth", "authorization", "authtoken"),
        *("clientassertion", "clientsecret", "code", "codeverifier", "credential", "devicecode", "idtoken"),
        *("jsessionid", "jwt", "key", "otp", "passwd", "password", "privatetoken", "pwd", "refreshtoken"),
        *("samlresponse", "secret", "secretkey", "sessionid", "sig", "signature", "subjecttoken", "token"),
        *("xamzcredential", "xamzsecuritytoken", "xamzsignature", "xgoogcredential", "xgoogsignature"),
    }
)
"""Parameters of queries that are never shown, as `plain` writes them: of OAuth (RFC 6749, RFC 6750, RFC 7521, RFC 7636,
RFC 8628, RFC 8693), of SAML, and of signed addresses."""
REDACTED: Final = "***"
MOST_PAIRS: Final = 100
"""Pairs of a query that are looked at, because a client may send tens of thousands; what follows is not shown."""
MOST_NESTED: Final = 3
"""Times that a value is decoded to find such parameters in it."""
LONGEST_NESTED: Final = 512
"""Characters of a value that is decoded."""
_NESTED: Final = re.compile(r"[?#]([^?&;#=\s]{1,100})=")
"""The name of the first parameter in a URL; the others are pairs of the query that it stands in."""
_DECODED: Final = re.compile(r"(?:^|[?&;#])([^?&;#=\s]{1,100})=")
"""The names of parameters in what was a value."""
_ENCODED: Final = re.compile("%3d|%25", re.IGNORECASE)
"""An equals sign, or what may become one."""
_SEPARATORS: Final = re.compile("([&;])")
"""Of the pairs of a query; some servers read the second one, too."""
_HEADER: Final = re.compile(r"header:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})")


class FormatError(ValueError):
    """The format or the list of fields cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format that was read. A text has one more literal than fields; JSON has none."""

    fields: tuple[str, ...]
    literals: tuple[str, ...] = ()


def read_format(text: str, fields: tuple[str, ...] = ()) -> Format | None:
    """The format of `text`, with these fields if it is JSON; None for JSON with the usual fields. Raises FormatError.

    A line never spans several lines, so the text may hold no control character but a tab.
    """
    if text == JSON:
        return Format(tuple(map(field_name, fields))) if fields else None
    if fields:
        raise FormatError("a text names its fields itself: leave the list of fields out")
    text = COMBINED if text == "combined" else text
    if any(ord(char) < 32 and char != "\t" for char in text):
        raise FormatError("a line may hold no line break and no other control character but a tab")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise FormatError("it is not UTF-8")
    return _read_text(text)


def field_name(name: str) -> str:
    """The name of a field, with a header's in lower case. Raises FormatError for an unknown one."""
    if (header := _HEADER.fullmatch(name)) is not None:
        return f"header:{header[1].lower()}"
    if name in NAMES:
        return name
    near = get_close_matches(name, NAMES, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(NAMES)} and header:NAME"
    raise FormatError(f"{name!r} is no field: {advice}")


def redact_query(query: str, secret: frozenset[str]) -> str:
    """The query with the values of these parameters, in the form of `plain`, replaced."""
    if not query:
        return ""
    # With the separators between them.
    *pieces, last = _SEPARATORS.split(query, maxsplit=MOST_PAIRS)
    shown = [_redact(pair, secret) for pair in pieces]
    return "".join([*shown, REDACTED if _SEPARATORS.search(last) else _redact(last, secret)])


def plain(name: str) -> str:
    """The name without what differs between spellings: access_token, Access-Token and accessToken are one."""
    return name.strip().lower().replace("-", "").replace("_", "")


def is_secret(name: str, secret: frozenset[str]) -> bool:
    """Whether a parameter with this name, as it was sent, is one of these, in the form of `plain`."""
    whole = plain(unquote_plus(name))
    # Frameworks read user[password] and user.password as a field of an object, token[] as a list.
    return whole in secret or any(plain(part) in secret for part in re.split(r"[\[\].]+", whole))


def encodes(value: str, secret: frozenset[str]) -> bool:
    """Whether a value is, once decoded, a URL or a query with such a parameter: `%2Fdone%3Ftoken%3Dabc`.

    True if it cannot be told at a bounded cost.
    """
    for _ in range(MOST_NESTED):
        if "%" not in value or not _ENCODED.search(value):
            return False
        if len(value) > LONGEST_NESTED:
            return True
        value = unquote_plus(value)
        if _names_one(_DECODED.findall(value), secret):
            return True
    return _ENCODED.search(value) is not None


def _nests(value: str, secret: frozenset[str]) -> bool:
    """Whether a value is a URL with such a parameter, encoded or not."""
    found = _NESTED.search(value) if "=" in value else None
    return (found is not None and is_secret(found[1], secret)) or encodes(value, secret)


def _names_one(names: list[str], secret: frozenset[str]) -> bool:
    return any(is_secret(name, secret) for name in names)


def _redact(pair: str, secret: frozenset[str]) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return pair
    return f"{name}={REDACTED}" if is_secret(name, secret) or _nests(value, secret) else pair


def _read_text(text: str) -> Format:
    literals, fields = [""], []
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise FormatError(f"{error}: double a brace that is no field") from None
    for literal, name, detail, conversion in pieces:
        literals[-1] += literal
        if name is None:
            continue
        if conversion:
            raise FormatError(f"{{{name}!{conversion}}} is no field")
        fields.append(field_name(f"{name}:{detail}" if detail else name))
        literals.append("")
    if not fields:
        raise FormatError("it names no field: write json, combined, or a text such as {client} {status}")
    if len(fields) > MOST_FIELDS:
        raise FormatError(f"it names more than {MOST_FIELDS} fields")
    return Format(tuple(fields), tuple(literals))
