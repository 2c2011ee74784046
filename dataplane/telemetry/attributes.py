"""The attributes of a request in spans and log records: stable HTTP semantic conventions, and `headgate.*`.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.breaker import HalfOpenTrial
from dataplane.gateway.policy.resources import Route
from dataplane.observe.record import UPSTREAM_ERRORS
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.messages import METHODS, Request

STANDARD: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"})
"""Methods that the conventions know; any other is `_OTHER`."""
Value = str | int | bool

FIELDS: Final[Mapping[str, str]] = {
    "headgate.route": "Name of the route.",
    "headgate.service": "Name of the service.",
    "headgate.instance": "Id of the instance that answered last.",
    "headgate.decision": "`forwarded`, `client_left`, or the [decision](errors.md#data-plane) of a refusal.",
    "headgate.reason": "The reason in words, if it says more than the decision.",
    "headgate.revision": "Revision of the configuration that the decision is based on.",
    "headgate.request_id": "Value of `X-Request-Id`; the access log has the same.",
    "headgate.limit": "The limit that refused the request.",
    "headgate.limits.shadowed": "Limits in shadow mode that would have refused it.",
    "headgate.breaker": "State of the service's breaker: `closed`, `half_open`, `open`.",
    "headgate.duration_us": "Of a log record: microseconds from the request's head to the response's end.",
    "headgate.cause": "Of a retry event: the reason why the attempt failed.",
}
"""The meaning of each attribute that is not of the conventions."""


def key_values(pairs: Iterable[tuple[str, Value]]) -> list[KeyValue]:
    """The attributes as messages, without those that are empty texts."""
    return [KeyValue(key=key, value=_any(value)) for key, value in pairs if value != ""]


def _any(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return AnyValue(int_value=value)
    return AnyValue(string_value=str(value).encode("utf-8", "replace").decode())


def template(exchange: Exchange) -> str:
    """The path template of the route that matched (`http.route`); empty for none."""
    plan = exchange.plan
    return path_template(plan.route) if isinstance(plan, Plan) else ""


def path_template(route: Route) -> str:
    """The path template of a route."""
    return route.path or route.pattern or f"{(route.prefix or '').rstrip('/')}/*"


def method_of(request: Request | None) -> str:
    """The method as the conventions write it."""
    method = "" if request is None else request.method
    return method if method in STANDARD else "_OTHER"


def failure(exchange: Exchange) -> str:
    """`error.type`: the status of a server error, or the reason for a response that is missing or was cut off."""
    if exchange.decision in UPSTREAM_ERRORS or not exchange.status:
        return exchange.decision
    if exchange.result is Result.FAILED:
        return "cut_off"
    return str(exchange.status) if exchange.status >= 500 else ""


def server_constants(exchange: Exchange) -> list[tuple[str, Value]]:
    """The attributes of a SERVER span, and of the request's log record, that many requests share."""
    request, plan, endpoint = exchange.request, exchange.plan, exchange.endpoint
    found: list[tuple[str, Value]] = [
        ("http.request.method", method_of(request)),
        ("url.scheme", scheme_of(exchange)),
        ("network.protocol.version", "" if request is None else ("1.1" if request.http11 else "1.0")),
        ("http.route", template(exchange)),
        ("error.type", failure(exchange)),
        ("headgate.decision", exchange.decision),
        ("headgate.revision", exchange.revision),
        ("headgate.route", "" if plan is None else plan.route_name),
        ("headgate.service", "" if plan is None else plan.service_name),
        ("headgate.instance", "" if endpoint is None else endpoint.id),
        ("headgate.breaker", breaker(exchange)),
    ]
    if request is not None and request.method not in STANDARD:
        found.append(("http.request.method_original", request.method))
    if exchange.status:
        found.append(("http.response.status_code", exchange.status))
    return found


def client_constants(exchange: Exchange) -> list[tuple[str, Value]]:
    """Those of a CLIENT span."""
    endpoint, plan = exchange.endpoint, exchange.plan
    assert endpoint is not None and plan is not None
    instance = endpoint.instance
    found: list[tuple[str, Value]] = [
        ("http.request.method", method_of(exchange.request)),
        ("server.address", instance.host.removeprefix("unix:")),
        ("network.protocol.version", "1.1"),
        ("error.type", client_failure(exchange)),
        ("headgate.service", plan.service_name),
        ("headgate.instance", endpoint.id),
    ]
    if instance.port:
        found.append(("server.port", instance.port))
    if exchange.decision == "forwarded" and exchange.status:
        found.append(("http.response.status_code", exchange.status))
    if exchange.attempts > 1:
        found.append(("http.request.resend_count", exchange.attempts - 1))
    return found


def client_failure(exchange: Exchange) -> str:
    """`error.type` of a CLIENT span: for a client, 4xx is an error too."""
    if exchange.decision != "forwarded":
        return exchange.decision
    return failure(exchange) or (str(exchange.status) if exchange.status >= 400 else "")


def breaker(exchange: Exchange) -> str:
    """The state of the service's breaker as the request met it; empty if it got no further."""
    if exchange.decision == "circuit_open":
        return "open"
    if exchange.trial is None:
        return ""
    return "half_open" if isinstance(exchange.trial, HalfOpenTrial) else "closed"


def scheme_of(exchange: Exchange) -> str:
    """The scheme that the client used, as a trusted proxy states it or as the connection is."""
    provenance = exchange.request.provenance if exchange.request is not None else None
    if provenance is not None and provenance.forwarded_proto is not None:
        return provenance.forwarded_proto.decode("ascii")
    return exchange.client.peer.scheme


def limit_of(exchange: Exchange) -> str:
    """The limit that refused the request; empty for none. The refusal's reason begins with its name."""
    if exchange.decision not in ("limited", "uncounted"):
        return ""
    return exchange.reason.removeprefix("limit ").partition(":")[0]


_AGENTS: Final = (b"\r\nuser-agent: ", b"\r\nUser-Agent: ")


def user_agent(request: Request) -> bytes:
    """The field User-Agent as it was sent."""
    fields = request.fields
    for name in _AGENTS:
        if name in fields:
            return fields[fields.index(name) + 1]
    return b""


assert STANDARD <= METHODS
