"""Decodes CORS and lists of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any, Final

from dataplane.config.decode.checker import Checker
from dataplane.gateway.policy.addresses import AddressLists, Network
from dataplane.gateway.policy.cors import Cors
from headgate_api.expressions import compiled
from headgate_api.v1 import resources_pb2 as pb

_ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]{0,31}://(\*\.)?[a-z0-9._:\[\]-]{1,253}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


def read_cors(body: pb.Cors, check: Checker) -> Cors:
    """The values; problems are recorded in `check`."""
    origins = check.each(
        "cors.allow_origins", body.allow_origins, _ORIGIN, "an origin that this version knows"
    )
    starred = [origin for origin in origins if "://*." in origin]
    expressions: list[Any] = []
    for position, text in enumerate(body.allow_origin_regex):
        try:
            expressions.append(compiled(text))
        except ValueError as error:
            check.wrong(
                f"cors.allow_origin_regex[{position}]", f"is not a regular expression of RE2: {error}"
            )
    return Cors(
        origins=frozenset(origins) - frozenset(starred),
        below=tuple(
            (f"{scheme}://", rest[1:]) for scheme, _, rest in (one.partition("://") for one in starred)
        ),
        patterns=tuple(body.allow_origin_regex),
        expressions=tuple(expressions),
        methods=check.each("cors.allow_methods", body.allow_methods, _TOKEN, "a method"),
        headers=check.each("cors.allow_headers", body.allow_headers, _TOKEN, "a field name"),
        exposed=check.each("cors.expose_headers", body.expose_headers, _TOKEN, "a field name"),
        credentials=body.allow_credentials,
        max_age=body.max_age,
    )


def read_addresses(body: pb.Route, check: Checker) -> AddressLists:
    """The lists; problems are recorded in `check`."""
    return AddressLists(
        tuple(_networks("allow_addresses", body.allow_addresses, check)),
        tuple(_networks("deny_addresses", body.deny_addresses, check)),
    )


def _networks(path: str, values: Iterable[str], check: Checker) -> Iterable[Network]:
    for position, value in enumerate(values):
        try:
            yield ip_network(value)
        except ValueError:
            check.wrong(f"{path}[{position}]", f"{value!r} is not a network")
