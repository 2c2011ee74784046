"""The two forms of a request path: the normal form is forwarded, and routes are matched on the match form.

Normal form: the path is normalised by RFC 3986 section 6.2.2. Percent-encoded unreserved characters are decoded, other
triplets get upper-case digits, empty segments are merged, dot segments are removed. Then every path that an instance
might still read differently is refused:

- an encoded slash or backslash (%2F, %5C), or a bare backslash: a separator to some servers, a letter to others;
- an encoded control character (%00 to %1F, %7F);
- `;` and %3B: servlet containers cut parameters out of segments before they match paths;
- %25 before two hex digits: double encoding, which a second decoder would open;
- a percent sign without two hex digits; dot segments that climb above the root; a fragment.

Match form: besides, everything that RFC 3986 allows bare in a segment (pchar: unreserved, sub-delims, ":" and "@") is
bare, and everything else is percent-encoded. RFC 3986 section 2.2 lets `/%24admin` and `/$admin` be two resources, but
nearly every server makes them one: a guard on one of them must hold for both. Reserved characters are forwarded as they
came, because decoding them for the instance would change signed URLs. Segments of the two forms correspond one to one.

The query is not normalised; only fragments and control characters are refused there (llhttp does the latter).
"""

from __future__ import annotations

import re
from typing import Final

_TRIPLET: Final = re.compile(r"%(..?|$)", re.DOTALL)
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED: Final = frozenset(map(chr, range(0x20))) | frozenset("\x7f/\\;")
_DOUBLE: Final = re.compile(r"%25[0-9A-Fa-f]{2}")
_ENCODED_PCHAR: Final = re.compile(r"%(?:2[146-9ABC]|3[AD]|40)")
_NOT_PCHAR: Final = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,=:@/%]")


class BadPath(ValueError):
    """The path has no normal form on which every server agrees."""


def normal_form(path: str, plain: bool = False) -> str:
    """The path's one spelling. Raises BadPath. `path` begins with a slash and has no query.

    `plain`: it has only characters that RFC 3986 allows in a path. The path itself, the same object, is returned only
    where nothing had to be changed, and then it has no percent sign.
    """
    if "%" in path:
        path = _TRIPLET.sub(_decoded, path)
        if _DOUBLE.search(path):
            raise BadPath("double encoding")
    if ";" in path or (not plain and ("\\" in path or "#" in path)):
        raise BadPath("backslash, semicolon or fragment")
    if "//" in path or "/." in path:
        return _without_dots(path)
    return path


def match_form(normal: str) -> str:
    """The match form of a path in normal form: the spelling that routes are matched on. Its own match form is
    itself."""
    path = _ENCODED_PCHAR.sub(_bare, normal) if "%" in normal else normal
    return _NOT_PCHAR.sub(_encoded, path)


def _bare(match: re.Match[str]) -> str:
    return chr(int(match[0][1:], 16))


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("latin-1"))


def _decoded(match: re.Match[str]) -> str:
    digits = match[1]
    if len(digits) != 2 or not _HEX.issuperset(digits):
        raise BadPath("percent sign without two hex digits")
    character = chr(int(digits, 16))
    if character in _UNRESERVED:
        return character
    if character in _REFUSED:
        raise BadPath("encoded separator or control character")
    return f"%{digits.upper()}"


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, with empty segments merged; a final dot segment leaves a slash."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if not kept:
                raise BadPath("climbs above the root")
            kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    slash = "/" if kept and segments[-1] in ("", ".", "..") else ""
    return f"/{'/'.join(kept)}{slash}"
