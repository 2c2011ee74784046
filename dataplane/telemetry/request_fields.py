"""The attributes that differ from request to request, for spans and for log records."""

from __future__ import annotations

from dataplane.observe.line_format import SECRET_PARAMETERS, plain, redact_query
from dataplane.observe.redaction import redact_path, redact_value
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import Request
from dataplane.telemetry.attributes import limit_of, scheme_of, user_agent
from dataplane.telemetry.otlp import MOST_TEXT, TextAttribute, utf8

Kind = tuple[object, ...]


class RequestFields:
    """Writes them, for messages whose field of attributes has this tag."""

    def __init__(self, tag: bytes, redact: tuple[str, ...] = ()) -> None:
        """`redact` names further query parameters whose values are not shown."""
        self._secret = SECRET_PARAMETERS | frozenset(map(plain, redact))
        self._path = TextAttribute(tag, "url.path")
        self._query = TextAttribute(tag, "url.query")
        self._host = TextAttribute(tag, "server.address")
        self._address = TextAttribute(tag, "client.address")
        self._agent = TextAttribute(tag, "user_agent.original")
        self._request_id = TextAttribute(tag, "headgate.request_id")
        self._reason = TextAttribute(tag, "headgate.reason")
        self._limit = TextAttribute(tag, "headgate.limit")
        self._shadowed = TextAttribute(tag, "headgate.limits.shadowed")

    def add(self, pieces: list[bytes], exchange: Exchange) -> None:
        """Add the attributes of this exchange."""
        pieces += (
            self._address.write(utf8(exchange.address)),
            self._request_id.write(exchange.request_id),
        )
        request = exchange.request
        if request is not None:
            pieces.append(
                self._path.write(utf8(redact_path(request.sent_path or request.path, self._secret)))
            )
            if request.host:
                pieces.append(self._host.write(utf8(request.host)))
            if agent := user_agent(request):
                pieces.append(self._agent.write(self._shown(agent)))
            if query := self.query(request):
                pieces.append(self._query.write(query))
        if exchange.reason:
            self._add_reason(pieces, exchange)
        if exchange.shadowed:
            pieces.append(self._shadowed.write(utf8(" ".join(exchange.shadowed))))

    def path(self, path: bytes) -> bytes:
        """A path as it was sent, without the secrets of its parameters."""
        if b";" not in path:
            return path
        return redact_path(path.decode("latin-1"), self._secret).encode("latin-1")

    def _shown(self, agent: bytes) -> bytes:
        """Robots name the address of their owner in it."""
        if b"=" not in agent and b"%" not in agent and b"@" not in agent:
            return valid(agent)
        return utf8(redact_value(agent.decode("utf-8", "replace").rstrip(), self._secret))

    def query(self, request: Request) -> bytes:
        """The query without its secrets."""
        _, mark, query = request.target.partition(b"?")
        return utf8(redact_query(query.decode("utf-8", "replace"), self._secret)) if mark else b""

    def _add_reason(self, pieces: list[bytes], exchange: Exchange) -> None:
        pieces.append(self._reason.write(utf8(exchange.reason)))
        if limit := limit_of(exchange):
            pieces.append(self._limit.write(utf8(limit)))


def kind_of(exchange: Exchange) -> Kind:
    """What all other attributes of the request follow from."""
    request, endpoint, plan = exchange.request, exchange.endpoint, exchange.plan
    return (
        exchange.revision,
        exchange.status,
        exchange.decision,
        "" if plan is None else plan.route_name,
        "" if endpoint is None else endpoint.id,
        "" if request is None else request.method,
        request is None or request.http11,
        scheme_of(exchange),
        type(exchange.trial),
        exchange.result,
    )


def valid(value: bytes) -> bytes:
    """A client's bytes as valid UTF-8: one invalid text would make a collector refuse the whole message."""
    value = value[:MOST_TEXT].rstrip()
    return value if value.isascii() else value.decode("utf-8", "replace").encode()
