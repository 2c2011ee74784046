"""Decodes where a route's requests go, or how it answers them itself.

A value that this version cannot use makes the route answer 500 (`Forwarding.unusable`). The route keeps its place: its
requests must not get to another route, or to a service without what the operator asked for.
"""

from __future__ import annotations

import re
from typing import Any

from dataplane.config.decode.authorization import read_authorization
from dataplane.config.decode.checker import Checker
from dataplane.config.decode.compression import read_compression
from dataplane.config.decode.cors import read_addresses, read_cors
from dataplane.config.decode.edits import OF_REQUESTS, OF_RESPONSES, read_edits
from dataplane.config.decode.words import HOST
from dataplane.gateway.policy.forwarding import (
    Forwarding,
    Mirror,
    Redirect,
    Respond,
    Share,
    Sticky,
    Substitution,
)
from headgate_api.expressions import compiled
from headgate_api.v1 import resources_pb2 as pb

_PARTS = (
    *("cors", "respond", "redirect", "rewrite_regex", "sticky", "request_headers", "response_headers"),
    *("compression", "authorize_with"),
)
"""Messages that only routes with something of this module have."""
_STATUSES = (301, 302, 303, 307, 308)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VISIBLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_SUBSTITUTION = re.compile(r"([\x21-\x22\x24-\x3e\x40-\x5b\x5d-\x7e]|\\[0-9])*")  # without # and ?


def read_forwarding(body: pb.Route, check: Checker) -> Forwarding | None:
    """Everything about forwarding that the route says; None if it sends its requests to one service, unchanged."""
    special = bool(body.services or body.rewrite_full or body.rewrite_host or body.mirrors)
    special = special or bool(body.allow_addresses or body.deny_addresses)
    if not special and not any(body.HasField(part) for part in _PARTS):  # type: ignore[arg-type]
        return None
    own = Checker(check.resource)
    found = Forwarding(
        shares=tuple(
            Share(own.name(f"services[{position}].service_name", share.service_name), share.weight)
            if share.service_name
            else Share("", share.weight)
            for position, share in enumerate(body.services)
        ),
        sticky=_sticky(body.sticky, own) if body.HasField("sticky") else None,
        respond=_respond(body.respond, own) if body.HasField("respond") else None,
        redirect=_redirect(body.redirect, own) if body.HasField("redirect") else None,
        path=own.path("rewrite_full", body.rewrite_full) if body.rewrite_full else "",
        substitution=_substitution(body.rewrite_regex, own) if body.HasField("rewrite_regex") else None,
        cors=read_cors(body.cors, own) if body.HasField("cors") else None,
        addresses=read_addresses(body, own) if body.allow_addresses or body.deny_addresses else None,
        request_edits=read_edits("request_headers", body.request_headers, OF_REQUESTS, own)
        if body.HasField("request_headers")
        else None,
        response_edits=read_edits("response_headers", body.response_headers, OF_RESPONSES, own)
        if body.HasField("response_headers")
        else None,
        authorization=read_authorization(body.authorize_with, own)
        if body.HasField("authorize_with")
        else None,
        compression=read_compression(body.compression, own) if body.HasField("compression") else None,
        mirrors=tuple(_mirror(f"mirrors[{at}]", mirror, own) for at, mirror in enumerate(body.mirrors)),
        host=_matching("rewrite_host", body.rewrite_host, HOST, own) if body.rewrite_host else "",
    )
    if own.problems:
        return Forwarding(unusable="; ".join(f"{one.field}: {one.detail}" for one in own.problems))
    return found


def _mirror(path: str, body: pb.Mirror, check: Checker) -> Mirror:
    check.between(f"{path}.percentage", body.percentage, 0, 100)
    return Mirror(check.name(f"{path}.service_name", body.service_name), body.percentage)


def _sticky(body: pb.Sticky, check: Checker) -> Sticky:
    if bool(body.cookie) == bool(body.header):
        check.wrong("sticky", "must have exactly one of cookie and header")
    _matching("sticky", body.cookie or body.header, _TOKEN, check)
    return Sticky(body.cookie, body.header.lower())


def _respond(body: pb.Respond, check: Checker) -> Respond:
    check.between("respond.status", body.status, 200, 599)
    if body.body:
        _matching("respond.content_type", body.content_type, _VISIBLE, check)
    return Respond(body.status, body.body.encode(), body.content_type)


def _redirect(body: pb.Redirect, check: Checker) -> Redirect:
    if body.status not in _STATUSES:
        check.wrong("redirect.status", f"must be one of {_STATUSES}, not {body.status}")
    if body.scheme not in ("", "http", "https"):
        check.wrong("redirect.scheme", f"must be http or https, not {body.scheme!r}")
    check.between("redirect.port", body.port, 0, 65535)
    return Redirect(
        scheme=body.scheme,
        host=_matching("redirect.host", body.host, HOST, check) if body.host else "",
        port=body.port,
        path=check.path("redirect.path", body.path) if body.path else "",
        prefix=check.path("redirect.prefix", body.prefix) if body.prefix else "",
        status=body.status,
    )


def _substitution(body: pb.RewriteRegex, check: Checker) -> Substitution:
    expression: Any = None
    try:
        expression = compiled(body.pattern)
    except ValueError as error:
        check.wrong("rewrite_regex.pattern", f"is not a regular expression of RE2: {error}")
    _matching("rewrite_regex.substitution", body.substitution, _SUBSTITUTION, check)
    if expression is not None:
        groups = [int(group) for group in re.findall(r"\\([0-9])", body.substitution)]
        if max(groups, default=0) > expression.groups:
            check.wrong("rewrite_regex.substitution", "refers to a group that the pattern does not have")
    return Substitution(body.pattern, body.substitution, expression)


def _matching(path: str, value: str, pattern: re.Pattern[str], check: Checker) -> str:
    if not pattern.fullmatch(value):
        check.wrong(path, f"{value!r} is not known to this version")
    return value
