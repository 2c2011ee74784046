"""Where a route's requests go, or how it answers them itself; and what becomes of their paths and hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from controlplane.model.base import Part
from controlplane.model.expressions import Expression
from controlplane.model.fields import COOKIE, HEADER, VISIBLE, HostName, Name, PathText, Prefix, pattern
from controlplane.model.problems import Problem
from headgate_api.expressions import compiled

TARGETS: Final = ("service_name", "services", "respond", "redirect")
"""Fields of a route of which exactly one is set."""
OWN: Final = ("respond", "redirect")
"""Those of them by which the gateway answers."""
OF_SERVICES: Final = (
    *("strip_prefix", "rewrite", "rewrite_full", "rewrite_regex", "rewrite_host"),
    *("request_headers", "timeout", "upgrades"),
)
"""Fields of a route that say how a service is asked."""
REWRITES: Final = ("strip_prefix", "rewrite", "rewrite_full", "rewrite_regex")
"""Fields of a route of which at most one is set."""
_SUBSTITUTION: Final = pattern(
    r"^[A-Za-z0-9._~!$&'()*+,=:@/%\\-]{0,1024}$", "up to 1024 characters of a path, and \\0 to \\9 for groups"
)
_ANY_TEXT: Final = "\x01\x01"
"""What no pattern means: one that matches within it, empty, does so everywhere."""
_GROUP: Final = re.compile(r"\\(.?)")


class WeightedService(Part):
    """A share of a route's requests."""

    service_name: Annotated[
        Name | None, Field(description="Service that answers the share; without one it is answered with 500.")
    ] = None
    weight: Annotated[
        int, Field(ge=0, le=1_000_000, description="Share, relative to the other weights; 0: no requests.")
    ] = 1


class Mirror(Part):
    """A service that gets copies of a route's requests. Their answers are thrown away."""

    service_name: Annotated[Name, Field(description="Service that gets the copies.")]
    percentage: Annotated[
        float, Field(ge=0, le=100, description="Share of the requests that are copied, evenly spread.")
    ] = 100.0


class Sticky(Part):
    """What keeps a caller on its side."""

    cookie: Annotated[
        str | None,
        Field(pattern=COOKIE, description="Cookie that names the caller; set where it is missing."),
    ] = None
    header: Annotated[
        str | None, Field(pattern=HEADER, description="Header field, in lower case, that names the caller.")
    ] = None

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One of both."""
        if (fields.get("cookie") is None) == (fields.get("header") is None):
            yield Problem("", "must have exactly one of cookie and header")


class Respond(Part):
    """The gateway's own answer."""

    status: Annotated[int, Field(ge=200, le=599, description="Status.")] = 200
    body: Annotated[str, Field(max_length=65_536, description="Content.")] = ""
    content_type: Annotated[
        str, Field(pattern=VISIBLE, max_length=256, description="Media type of the content.")
    ] = "text/plain; charset=utf-8"

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """No content where HTTP has none."""
        if fields.get("status") in (204, 205, 304) and fields.get("body"):
            yield Problem("body", f"must be empty: a {fields['status']} has no content (RFC 9110, 15)")


class Redirect(Part):
    """The answer with the address to use instead. What is left out stays as in the request."""

    scheme: Annotated[Literal["http", "https"] | None, Field(description="Scheme.")] = None
    host: Annotated[HostName | None, Field(description="Host.")] = None
    port: Annotated[
        int | None,
        Field(ge=1, le=65535, description="Port; by default that of a new scheme, or that of the request."),
    ] = None
    path: Annotated[PathText | None, Field(description="Replaces the whole path.")] = None
    prefix: Annotated[Prefix | None, Field(description="Replaces the prefix that the route matched.")] = None
    status: Annotated[Literal[301, 302, 303, 307, 308], Field(description="Status.")] = 302

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """A redirect changes something, the path in one way only."""
        if all(fields.get(name) is None for name in ("scheme", "host", "port", "path", "prefix")):
            yield Problem("", "must change something: clients would come back for ever")
        if fields.get("path") is not None and fields.get("prefix") is not None:
            yield Problem("prefix", "must not be given together with path")


class RewriteRegex(Part):
    """Replaces what a regular expression matches in the path."""

    pattern: Annotated[Expression, Field(description="RE2; each match in the path is replaced.")]
    substitution: Annotated[
        str,
        Field(pattern=_SUBSTITUTION, description=r"The replacement; \1 to \9 are the groups, \0 the match."),
    ]

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """Only groups that the expression has, and no text between all characters."""
        expression, substitution = fields.get("pattern"), fields.get("substitution")
        if not isinstance(expression, str) or not isinstance(substitution, str):
            return
        try:
            made = compiled(expression)
        except ValueError:
            return
        groups = made.groups
        if sum(not match.group() for match in made.finditer(_ANY_TEXT)) > 1:
            yield Problem(
                "pattern", "must not match the empty text: every place in the path would be replaced"
            )
        for group in _GROUP.findall(substitution):
            if not group.isdigit() or int(group) > groups:
                yield Problem("substitution", f"must not refer to \\{group}: the pattern has {groups} groups")


def target_problems(fields: Mapping[str, object]) -> Iterable[Problem]:
    """A route has one destination, and changes the path in one way."""
    given = [name for name in TARGETS if fields.get(name) not in (None, (), [])]
    if not given:
        yield Problem("service_name", "is required, or services, respond or redirect")
    for name in given[1:]:
        yield Problem(name, f"must not be given together with {given[0]}")
    for name in OF_SERVICES if given and given[0] in OWN else ():
        if fields.get(name) not in (None, False, (), [], {}):
            yield Problem(name, f"needs a service, but the route has {given[0]}: it would change nothing")
    rewrites = [name for name in REWRITES if fields.get(name) not in (None, False)]
    for name in rewrites[1:]:
        yield Problem(name, f"must not be given together with {rewrites[0]}")
    if fields.get("sticky") is not None and given != ["services"]:
        yield Problem("sticky", "needs services")
    if fields.get("mirrors") and given and given[0] in ("respond", "redirect"):
        yield Problem(
            "mirrors", f"must not be given together with {given[0]}: only forwarded requests are copied"
        )
    redirect = fields.get("redirect")
    by_prefix = getattr(redirect, "prefix", None) or (
        isinstance(redirect, Mapping) and redirect.get("prefix")
    )
    if by_prefix and fields.get("prefix") is None:
        yield Problem("redirect.prefix", "needs a route with a prefix")
