"""Where a route's requests go, or how it answers them itself: frozen values of the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from dataplane.gateway.policy.addresses import AddressLists
from dataplane.gateway.policy.authorization import Authorization
from dataplane.gateway.policy.compression import Compression
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.edits import HeaderEdits
from headgate_api.expressions import LONGEST, MOST_STEPS, TooLong

MOST_PATH: Final = 8192
"""Characters of a path after replacements."""
_MOST_STEPS: Final = MOST_STEPS // 2
"""A search for groups costs more a step than a whole match: this is about a millisecond."""
_STEPS_PER_MATCH: Final = 2048
"""What a match costs in the library beside the search."""
_BAD_REQUEST: Final = 400
_GROUP: Final = re.compile(r"\\([0-9])")


@dataclass(frozen=True, slots=True)
class Share:
    """A service's share of a route's requests."""

    service: str
    """Empty: the share is answered with 500."""
    weight: int
    """Relative to the others; 0: no requests."""


@dataclass(frozen=True, slots=True)
class Sticky:
    """What names the caller that stays on its side: a cookie or a header field; the other one is empty."""

    cookie: str = ""
    header: str = ""


@dataclass(frozen=True, slots=True)
class Respond:
    """The gateway's own answer."""

    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """The address to use instead. What is empty, or 0, stays as in the request."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    """Replaces the whole path."""
    prefix: str = ""
    """Replaces the matched prefix."""
    status: int = 302


@dataclass(frozen=True, slots=True)
class Substitution:
    """Replaces what a regular expression matches in the path."""

    pattern: str
    text: str
    expression: Any = field(default=None, compare=False, repr=False)
    """`pattern`, compiled."""

    def apply(self, path: str) -> str:
        """The path with all matches replaced; it begins with a slash. Raises TooLong when the search takes too many
        steps, or the new path is longer than any instance would take."""
        found: str = self.expression.sub(_Replacing(self, path), path)
        if len(found) > MOST_PATH:
            raise TooLong(_BAD_REQUEST)
        return found if found.startswith("/") else f"/{found}"


class _Replacing:
    """Makes the text for each match, and counts what the search costs: each starts where the last match has ended, and
    may read all that follows."""

    def __init__(self, wanted: Substitution, path: str) -> None:
        # A template of its own: in those of the library "\\0" is a null character, and "\\10" the tenth group.
        self._parts = _GROUP.split(wanted.text)
        self._size = int(wanted.expression.programsize)
        self._length = len(path)
        self._steps = self._made = 0
        if self._length > LONGEST:
            raise TooLong(_BAD_REQUEST)
        self._take(self._length)

    def __call__(self, match: Any) -> str:
        self._take(self._length - match.end())
        made = _filled(self._parts, match)
        self._made += len(made)
        if self._made > MOST_PATH:
            raise TooLong(_BAD_REQUEST)
        return made

    def _take(self, left: int) -> None:
        self._steps += left * self._size + _STEPS_PER_MATCH
        if self._steps > _MOST_STEPS:
            raise TooLong(_BAD_REQUEST)


def _filled(parts: list[str], match: Any) -> str:
    """Texts and numbers of groups, in turn; a group that took no part is empty."""
    return "".join(part if at % 2 == 0 else match.group(int(part)) or "" for at, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class Mirror:
    """A service that gets copies of requests."""

    service: str
    percentage: float = 100.0
    """Share of the requests that are copied."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Everything of this module that a route may have; a route that goes to one service unchanged has none of it."""

    shares: tuple[Share, ...] = ()
    """Instead of one service."""
    sticky: Sticky | None = None
    respond: Respond | None = None
    redirect: Redirect | None = None
    path: str = ""
    """Replaces the whole path that is sent upstream."""
    substitution: Substitution | None = None
    host: str = ""
    """Replaces the host that is sent upstream."""
    cors: Cors | None = None
    addresses: AddressLists | None = None
    request_edits: HeaderEdits | None = None
    response_edits: HeaderEdits | None = None
    compression: Compression | None = None
    mirrors: tuple[Mirror, ...] = ()
    authorization: Authorization | None = None
    unusable: str = ""
    """The reason this version cannot do what the route says: its requests are answered with 500."""
