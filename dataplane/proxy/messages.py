"""A request as the gateway sees it, independent of its wire format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from dataplane.proxy.fields.kinds import folded

CHUNKED: Final = -1
"""A body's length when it is not known beforehand."""

METHODS: Final = frozenset(
    {
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"),
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "PURGE"),
    }
)
"""Supported methods; any other gets 501."""
IDEMPOTENT: Final = frozenset(
    {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "QUERY", "PROPFIND", "REPORT", "SEARCH"}
)
"""Methods whose requests may be repeated (RFC 9110 section 9.2.2; for the others the IANA registry of methods)."""
SERVER: Final = "*"
"""The path of an OPTIONS request that is about the gateway and not about a resource (RFC 9112 section 3.2.4)."""


class BadRequest(Exception):
    """The request is malformed or ambiguous: answered with `status`, then the connection closes."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Context(NamedTuple):
    """The trace of a request, as its sender states it (traceparent)."""

    trace_id: bytes
    flags: bytes
    parent: bytes = b""
    """The sender's span."""
    draw: bytes = b""
    """The half of an id, 16 hex digits, that must be below our threshold (`fields.trace.threshold`) for the flags to
    count as sampled; empty: they are final."""


class Provenance:
    """The origin of a request as its sender states it: the client, if the sender is a trusted proxy, and the trace.

    A value the sender does not state is None.
    """

    __slots__ = (
        "context",
        "forwarded",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "fresh_id",
        "max_forwards",
        "request_id",
        "traceparent",
        "tracestate",
    )

    def __init__(self) -> None:
        self.forwarded: bytes | None = None
        self.forwarded_for: bytes | None = None
        self.forwarded_host: bytes | None = None
        self.forwarded_proto: bytes | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        self.tracestate: bytes | None = None
        self.context: Context | None = None
        """The trace it continues; None if a new trace starts here."""
        self.fresh_id: bytes | None = None
        """The id generated here, regardless of the request's own id."""
        self.max_forwards = -1
        """The number of times an OPTIONS request may still be forwarded; -1: its sender states no bound."""


class Identity:
    """The caller, as stated to the instance. Prepared once for many requests."""

    __slots__ = ("claims", "logged", "rendered", "scopes", "subject")

    def __init__(self, subject: str, scopes: frozenset[str], claims: Mapping[str, str] | None = None) -> None:
        self.subject = subject
        """The token's subject; empty: an anonymous caller, about whom the instance gets no fields."""
        self.scopes = scopes
        """Scopes that the token grants and the user still holds."""
        self.claims: Mapping[str, str] = {} if claims is None else claims
        """Values of the token's claims that edits of header fields name."""
        self.rendered = b""
        """The identity fields, once HTTP/1 has written them. Another wire format gets its own slot."""
        self.logged = ""
        """The subject as the access log writes it, once it has."""


NO_IDENTITY: Final = Identity("", frozenset())
"""The caller on a route that needs no token."""


_MOST_VALUES: Final = 64
"""Fields of one shared head that are kept ready: more than routes ask for, but routes change."""


class Request:
    """A request's head as it was read; the decision replaces `target` and `upgrade` by the upstream values."""

    __slots__ = (
        "authority",
        "authorization",
        "expects_continue",
        "fields",
        "host",
        "http11",
        "joined",
        "keep_alive",
        "length",
        "method",
        "own_fields",
        "path",
        "provenance",
        "sent_path",
        "target",
        "upgrade",
        "values",
    )

    method: str
    path: str
    """The match form (module `normal_path`), which routes are matched on."""
    sent_path: str | None
    """The normal form, which is forwarded, where it differs from `path`; else None."""
    target: bytes
    """Path and query, in normal form; after the decision the upstream target, on a route that rewrites."""
    authority: bytes
    """The Host as it was sent."""
    host: str
    """Lower case, without port and final dot: what routes match."""
    http11: bool
    keep_alive: bool
    length: int
    """Length of the body in bytes; CHUNKED when it is not known beforehand."""
    expects_continue: bool
    authorization: str | None
    provenance: Provenance | None
    """The client, as a trusted sender states it, and the trace; None if neither is stated."""
    upgrade: tuple[str, ...]
    """Protocols that the client offers to change to; after the decision only the one that the route allows, or
    none."""
    fields: list[bytes]
    """The forwarded fields, two pieces to a field: the part before its value (`names.begin`), and the value."""
    own_fields: list[tuple[bytes, bytes]]
    """Names and values, as received, of the fields that the gateway reads, drops or rewrites."""
    joined: bytes
    """`fields` in one piece, if many requests share it; else empty."""
    values: dict[str, str | None] | None
    """What `listed_field` has found, for all requests that share `joined`; None if nobody shares it."""

    @property
    def query(self) -> bytes:
        """With its question mark, or empty."""
        return b"".join(self.target.partition(b"?")[1:])

    def field(self, name: str) -> str:
        """The value of any field, by lower-case name, without blanks around it; several are joined, none is "".

        Host is the exception: its normal form, so that one host has one value.
        """
        return self.listed_field(name) or ""

    def listed_field(self, name: str) -> str | None:
        """The same; None if there is no such field."""
        values = self.values
        if values is None:
            return self._listed(name)
        if name not in values:
            if len(values) >= _MOST_VALUES:
                values.clear()
            values[name] = self._listed(name)
        return values[name]

    def _listed(self, name: str) -> str | None:
        wanted = name.encode("latin-1")
        if wanted == b"host":
            return self.host
        found = [value for own, value in self.own_fields if own.lower() == wanted]
        if not found:
            fields = self.fields
            found = [fields[i + 1] for i in range(0, len(fields), 2) if fields[i][2:-2].lower() == wanted]
            if not found:
                return None
        return b", ".join([value.rstrip(b" \t") for value in found]).decode("latin-1")

    def single_field(self, plain: bytes) -> str:
        """The value of the field whose name is `plain` once it is folded (`kinds.folded`), without blanks around it.

        "" without one, and with several: servers differ in which one counts, and in whether names are folded. Host is
        in its normal form, as in `field`.
        """
        if plain == b"host":
            return self.host
        if plain == b"authorization":
            return self.authorization or ""
        found = [value for own, value in self.own_fields if folded(own) == plain]
        fields = self.fields
        found += [fields[i + 1] for i in range(0, len(fields), 2) if folded(fields[i][2:-2]) == plain]
        return found[0].rstrip(b" \t").decode("latin-1") if len(found) == 1 else ""
