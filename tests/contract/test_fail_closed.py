"""A filter that cannot be used makes its route answer 500, with the reason in log and explanation; other routes serve.

What decides about match and access cannot be left to one route: the configuration is rejected, the one before stays.
"""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config.decode import decode
from dataplane.config.table import Item, Problem, ResourceSet, TableError, UnlinkedRoute, build
from dataplane.gateway.policy.authorization import Authorization
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import Instance, Route, Service
from dataplane.gateway.refusals import respond
from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire
from tests.unit.dataplane.gateway.explaining import explained, step
from tests.unit.dataplane.gateway.line import Line

SERVICES: tuple[Item, ...] = (Service("a"), Instance("a", "1", "127.0.0.1", 81))
OTHER = UnlinkedRoute(Route("other", "a", prefix="/", public=True))

UNUSABLE: list[tuple[str, dict[str, Any]]] = [
    # the field that the reason names, and the route as it comes over the wire
    ("cors.allow_origin_regex[0]", {"cors": pb.Cors(allow_origin_regex=["("])}),
    ("cors.allow_origins[0]", {"cors": pb.Cors(allow_origins=["a.example"])}),
    ("allow_addresses[0]", {"allow_addresses": ["10.0.0.0/99"]}),
    ("deny_addresses[0]", {"deny_addresses": ["nowhere"]}),
    ("request_headers.set.x-a", {"request_headers": pb.HeaderEdits(set={"x-a": "%{later}"})}),
    ("request_headers.set", {"request_headers": pb.HeaderEdits(set={"host": "a"})}),
    ("response_headers.remove", {"response_headers": pb.HeaderEdits(remove=["date"])}),
    ("rewrite_regex.pattern", {"rewrite_regex": pb.RewriteRegex(pattern="(")}),
    ("rewrite_host", {"rewrite_host": "a b"}),
    ("rewrite_full", {"rewrite_full": "a"}),
    ("respond.status", {"respond": pb.Respond(status=99)}),
    ("redirect.status", {"redirect": pb.Redirect(status=300, host="a")}),
    ("sticky", {"services": [pb.WeightedService(service_name="a", weight=1)], "sticky": pb.Sticky()}),
    ("compression.encodings[0]", {"compression": pb.Compression(encodings=["dcb"])}),
    ("compression.media_types[0]", {"compression": pb.Compression(media_types=["text"])}),
    ("authorize_with.timeout", {"authorize_with": pb.Authorization(service_name="a", path="/")}),
    ("authorize_with.path", {"authorize_with": pb.Authorization(service_name="a", timeout=1)}),
    (
        "authorize_with.service_name",
        {"authorize_with": pb.Authorization(service_name="", path="/", timeout=1)},
    ),
    (
        "authorize_with.to_service",
        {"authorize_with": pb.Authorization(service_name="a", path="/", timeout=1, to_service=["host"])},
    ),
]


@pytest.mark.parametrize(("field", "fields"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_a_route_with_a_filter_that_cannot_be_used(field: str, fields: dict[str, Any]) -> None:
    elsewhere = {"respond", "redirect", "services"} & fields.keys()
    item = decode(wire.route("r", "" if elsewhere else "a", **fields))
    line = Line(*SERVICES, OTHER, item)
    refusal, exchange = line.ask("/r/x")
    reply = respond(refusal)
    assert (reply.status, reply.decision) == (500, "unusable") and exchange.endpoint is None
    assert reply.reason.startswith(f"{field}: ")
    told = explained(line, "/r/x")
    assert (told.status, told.route) == (500, "r")
    assert step(told, "action").outcome == "refused" and field in step(told, "action").text
    # Its requests reach no other route, and the other route serves.
    assert line.ask("/x")[0] is None


def test_a_filter_that_cannot_be_prepared(caplog: pytest.LogCaptureFixture) -> None:
    """The last resort, for what no check has found."""
    broken = Forwarding(authorization=Authorization("a", to_service=("\u0131d",)))
    line = Line(*SERVICES, OTHER, UnlinkedRoute(Route("r", "a", prefix="/r", public=True, forwarding=broken)))
    for _ in range(2):
        reply = respond(line.ask("/r/x")[0])
        assert (reply.status, reply.decision) == (500, "unusable")
        assert reply.reason.startswith("UnicodeEncodeError")
    assert [record.message for record in caplog.records] == ["The route cannot be used"]
    assert line.ask("/x")[0] is None


REJECTED: list[tuple[str, dict[str, Any]]] = [
    ("path_regex", {"prefix": "", "path_regex": "/("}),
    ("headers[0].regex", {"headers": [pb.HeaderMatch(name="a", regex="(")]}),
    ("query[0].regex", {"query": [pb.QueryMatch(name="a", regex="(")]}),
    ("headers[0]", {"headers": [pb.HeaderMatch(name="a")]}),
    ("scopes[0]", {"public": False, "scopes": ["a b"]}),
    ("scopes", {"scopes": ["a"]}),
    ("method_miss", {"method_miss": 403}),
    ("service_name", {"service_name": "gone"}),
    ("services", {"service_name": "", "services": [pb.WeightedService(service_name="gone", weight=1)]}),
    ("rate_limits[0]", {"rate_limits": ["gone"]}),
    (
        "authorize_with.service_name",
        {"authorize_with": pb.Authorization(service_name="gone", path="/", timeout=1)},
    ),
]


@pytest.mark.parametrize(("field", "fields"), REJECTED, ids=[row[0] for row in REJECTED])
def test_what_one_route_cannot_answer_for_is_rejected_as_a_whole(field: str, fields: dict[str, Any]) -> None:
    resource = wire.route("r", "a", **{key: value for key, value in fields.items() if key != "service_name"})
    if "service_name" in fields:
        resource.route.service_name = fields["service_name"]
    with pytest.raises(TableError) as raised:
        build(ResourceSet.of(*SERVICES, OTHER, decode(resource)))
    assert [(one.resource, one.field) for one in raised.value.problems] == [("route/r", field)]


def test_a_route_of_a_listener_that_is_not_here_is_served_nowhere() -> None:
    """The listener may belong to another pool."""
    elsewhere = UnlinkedRoute(Route("r", "a", prefix="/r", public=True, listeners=("gone",)))
    assert respond(Line(*SERVICES, elsewhere).ask("/r")[0]).status == 404


LISTENER = wire.listener(
    "l", 8443, protocol=pb.LISTENER_PROTOCOL_HTTPS, certificates=["gone"], tls_min="1.2", tls_max="1.3"
)
ELSEWHERE = [
    # what routes depend on
    ("a listener's certificate", LISTENER, "listener/l", "certificates[0]"),
    ("an issuer's key", wire.verification_key("k", jwk="{}"), "verification_key/k", "jwk"),
    ("a service's authorities", wire.service("b", tls=pb.UpstreamTls(ca="x")), "service/b", "tls.ca"),
]


@pytest.mark.parametrize(("what", "resource", "named", "field"), ELSEWHERE, ids=[row[0] for row in ELSEWHERE])
def test_what_routes_depend_on_is_rejected_as_a_whole(
    what: str, resource: Any, named: str, field: str
) -> None:
    with pytest.raises(TableError) as raised:
        build(ResourceSet.of(*SERVICES, OTHER, decode(resource)))
    assert [(one.resource, one.field) for one in raised.value.problems] == [(named, field)]


def test_without_an_issuer_s_key_no_token_is_good() -> None:
    line = Line(*SERVICES, UnlinkedRoute(Route("r", "a", prefix="/r")))
    assert respond(line.ask("/r", token="a.b.c")[0]).status == 401


def test_a_service_that_is_asked_cannot_go() -> None:
    """It is deleted under a route that asks it: the change is rejected."""
    rules = Forwarding(authorization=Authorization("auth"))
    guarded = UnlinkedRoute(Route("r", "a", prefix="/r", public=True, forwarding=rules))
    line = Line(*SERVICES, Service("auth"), guarded)
    with pytest.raises(TableError) as raised:
        line.swap(*SERVICES, guarded)
    assert raised.value.problems == (
        Problem("route/r", "authorize_with.service_name", "service 'auth' does not exist"),
    )
    reply = respond(line.ask("/r")[0])
    assert (reply.status, reply.decision) == (503, "authorization_failed")


def test_a_path_that_reads_in_two_ways_does_not_get_around_the_service() -> None:
    rules = Forwarding(authorization=Authorization("auth"))
    guarded = Route("r", "a", prefix="/$a", public=True, forwarding=rules)
    line = Line(*SERVICES, Service("auth"), UnlinkedRoute(guarded), OTHER)
    assert respond(line.ask("/%24a/x")[0]).status == 400
