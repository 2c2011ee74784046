"""The status endpoints over a node in any state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from dataplane.config.reports import CircuitStats, InstanceHealth, InstanceStatus
from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.policy.resources import (
    Instance,
    Limit,
    LimitKey,
    LimitMode,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.observe.http_series import SeriesKey
from dataplane.observe.stats import LATENCY_BOUNDS, Seen, Totals
from dataplane.observe.status_server import make_app
from dataplane.observe.view import NodeView, RedisView

JWK = '{"kty":"OKP","crv":"Ed25519","x":"secret-looking"}'
TABLE = build(
    ResourceSet.of(
        Service("orders"),
        Instance("orders", "orders-1", "10.0.0.1", 80),
        Instance("orders", "orders-2", "10.0.0.2", 80),
        Limit("burst", 10, 20, LimitKey.ADDRESS),
        UnlinkedRoute(
            Route("orders", "orders", prefix="/orders", scopes=frozenset({"orders:read"})), ("burst",)
        ),
        User("alice", frozenset({"orders:read"})),
        VerificationKey("k1", JWK, "headgate", "headgate"),
    ),
    41,
    "digest",
)
HEALTHY = NodeView(
    node="node-1",
    version="0.1.0",
    revision=41,
    lineage="",
    epoch=0,
    digest="digest",
    table=TABLE,
    instances=(
        InstanceHealth("orders", "orders-1", InstanceStatus.HEALTHY, 1700000000.0),
        InstanceHealth("orders", "orders-2", InstanceStatus.UNHEALTHY, 1700000001.0, "answered 503"),
    ),
    circuits=(CircuitStats("orders", "closed", 0.0, 10, 2, 1, 0, ""),),
    ejected={},
    totals=Totals(
        requests={"orders": [1, 0, 8, 0, 1, 0, 0, 0, 0, 0], "": [0, 0, 0, 0, 3, 0, 0, 0, 0, 0]},
        latency={"orders": [4.0, 3.0] + [0.0] * (len(LATENCY_BOUNDS) - 3) + [2.0, 1.0, 12.5]},
        refusals={("orders", "limited"): 2},
        upstream_errors={("orders", "timed_out"): 1},
        shadowed={"burst": 7},
        mirrored={"next": 5},
        mirror_failed={"next": 2},
        mirror_dropped={("next", "body"): 3},
        unanswered={"burst": 6},
        access_log_drops=5,
    ),
    workers=2,
    workers_wanted=2,
    worker_restarts=1,
    connections=9,
    in_flight=4,
    controlplane="127.0.0.1:50051",
    controlplane_problem="",
    rejections=3,
    mismatches=2,
    cache_warnings=4,
    cache_problem="",
    draining=False,
    not_ready="",
)


async def ask(path: str, view: NodeView = HEALTHY) -> httpx.Response:
    transport = httpx.ASGITransport(make_app(lambda: view))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as client:
        return await client.get(path)


async def metrics(view: NodeView = HEALTHY) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await ask("/metrics", view)).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_health_of_a_node_without_worries() -> None:
    assert (await ask("/health")).json() == {
        "status": "ok",
        "node": "node-1",
        "version": "0.1.0",
        "revision": 41,
        "workers": {"running": 2, "wanted": 2, "restarts": 1},
        "controlplane": {"connected": True},
        "services": {"orders": {"healthy": 1, "total": 2}},
        "circuits": {"orders": {"state": "closed", "reason": ""}},
        "problems": [],
    }


@pytest.mark.parametrize(
    ("fields", "status", "problem"),
    [
        ({"controlplane": ""}, "degraded", "not connected to a control plane: still serving revision 41"),
        ({"cache_problem": "x"}, "degraded", "the configuration cache cannot be written or read"),
        ({"workers": 1}, "degraded", "1 of 2 workers run"),
        ({"not_ready": "no configuration yet"}, "starting", "no configuration yet"),
        (
            {"circuits": (CircuitStats("orders", "open", reason="Circuit opened after 5 failures"),)},
            "degraded",
            "orders: circuit is open: Circuit opened after 5 failures",
        ),
        ({"instances": HEALTHY.instances[1:]}, "degraded", "orders: no healthy instance"),
    ],
)
async def test_health_names_what_is_wrong(fields: dict[str, Any], status: str, problem: str) -> None:
    answer = await ask("/health", replace(HEALTHY, **fields))
    assert answer.status_code == 200
    assert answer.json()["status"] == status
    assert answer.json()["problems"] == [problem]


async def test_health_names_what_the_acl_of_redis_lacks() -> None:
    refused = replace(HEALTHY, redis=RedisView(1_700_000_000.25, "10.0.0.9:6379: NOPERM", "~rate_limit:*"))
    said = (await ask("/health", refused)).json()
    since = "2023-11-14T22:13:20.250+00:00"
    assert said["redis"] == {"connected": True, "acl_lacks": "~rate_limit:*", "since": since}
    assert said["problems"] == [
        f"Redis refuses limits: the ACL of the gateway's user lacks ~rate_limit:*, since {since}"
    ]
    assert said["status"] == "degraded"
    assert "redis_connected 1" in (await ask("/metrics", refused)).text


async def test_health_says_that_redis_refuses_the_credentials() -> None:
    denied = replace(HEALTHY, redis=RedisView(1_700_000_000.25, "10.0.0.9:6379: WRONGPASS", denied=True))
    said = (await ask("/health", denied)).json()
    since = "2023-11-14T22:13:20.250+00:00"
    assert said["redis"] == {"connected": False, "refused": "credentials", "since": since}
    assert said["problems"] == [
        f"Failed to connect to Redis: it refuses the gateway's user or password, since {since}"
    ]
    assert "redis_connected 0" in (await ask("/metrics", denied)).text


async def test_health_says_since_when_redis_is_away() -> None:
    away = replace(HEALTHY, redis=RedisView(1_700_000_000.25, "10.0.0.9:6379: connection lost"))
    said = (await ask("/health", away)).json()
    assert said["redis"] == {"connected": False, "since": "2023-11-14T22:13:20.250+00:00"}
    assert said["problems"] == ["Failed to connect to Redis, since 2023-11-14T22:13:20.250+00:00"]
    assert said["status"] == "degraded"
    assert (await ask("/debug/config", away)).json()["redis_problem"] == "10.0.0.9:6379: connection lost"
    back = replace(HEALTHY, redis=RedisView(0.0, ""))
    assert (await ask("/health", back)).json()["redis"] == {"connected": True}
    assert (await ask("/health", back)).json()["status"] == "ok"


async def test_health_tells_no_addresses() -> None:
    """It is answered on the traffic port too."""
    away = RedisView(1.0, "10.0.0.9:6379: connection lost")
    lost = replace(HEALTHY, cache_problem="/var/lib/x", controlplane="", redis=away)
    text = (await ask("/health", lost)).text
    assert "10.0.0." not in text
    assert "/var" not in text


async def test_ready_says_what_keeps_it_from_being_configured() -> None:
    problem = "127.0.0.1:50051: UNAUTHENTICATED"
    lost = replace(HEALTHY, controlplane="", controlplane_problem=problem)
    assert (await ask("/ready", lost)).json() == {"status": "ready"}
    body = (await ask("/ready", replace(lost, revision=0, not_ready="no configuration yet"))).json()
    assert body == {"status": "not ready", "detail": "no configuration yet", "controlplane": problem}


async def test_ready() -> None:
    answer = await ask("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    answer = await ask("/ready", replace(HEALTHY, not_ready="draining"))
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "detail": "draining"})


async def test_metrics() -> None:
    found = await metrics()

    def value(name: str, **labels: str) -> float:
        return found[f"headgate_{name}", tuple(sorted(labels.items()))]

    assert value("requests_total", route="orders", status="2xx") == 8
    assert value("requests_total", route="orders", status="none") == 1
    assert value("requests_total", route="", status="4xx") == 3
    assert value("refusals_total", route="orders", reason="limited") == 2
    assert value("upstream_errors_total", service="orders", kind="timed_out") == 1
    assert value("limit_shadowed_total", limit="burst") == 7
    assert value("mirrored_total", service="next") == 5
    assert value("mirror_failed_total", service="next") == 2
    assert value("mirror_dropped_total", service="next", reason="body") == 3
    assert value("limit_unanswered_total", limit="burst") == 6
    assert ("headgate_redis_connected", ()) not in found
    assert value("circuit_state", service="orders", state="closed") == 1
    assert value("circuit_state", service="orders", state="open") == 0
    assert value("circuit_failures_total", service="orders") == 2
    assert value("circuit_rejections_total", service="orders") == 1
    assert value("instances", service="orders", status="unhealthy") == 1
    assert value("instances", service="orders", status="healthy") == 1
    assert value("config_revision") == 41
    assert value("config_rejections_total") == 3
    assert value("config_delta_mismatches_total") == 2
    assert value("config_cache_warnings_total") == 4
    assert value("worker_restarts_total") == 1
    assert value("access_log_dropped_total") == 5
    assert value("connections") == 9
    assert value("requests_in_flight") == 4
    assert (value("ready"), value("controlplane_connected")) == (1, 1)


async def test_the_histogram_adds_up() -> None:
    found = await metrics()
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "headgate_request_duration_seconds_bucket"
    }
    assert (buckets["0.001"], buckets["0.0025"], buckets["5.0"], buckets["10.0"]) == (4, 7, 7, 9)
    total = found["headgate_request_duration_seconds_count", (("service", "orders"),)]
    assert buckets["+Inf"] == total == 10
    assert found["headgate_request_duration_seconds_sum", (("service", "orders"),)] == 12.5


async def test_the_applied_configuration_without_secrets() -> None:
    answer = await ask("/debug/config")
    shown = answer.json()
    assert (shown["revision"], shown["digest"], shown["users"]) == (41, "digest", ["alice"])
    assert shown["routes"]["orders"] == {
        "prefix": "/orders",
        "service_name": "orders",
        "scopes": ["orders:read"],
        "rate_limits": ["burst"],
    }
    assert shown["services"]["orders"]["instances"]["orders-2"] == {
        "address": "10.0.0.2:80",
        "weight": 1,
        "status": "unhealthy",
        "last_check": 1700000001.0,
        "reason": "answered 503",
    }
    assert shown["rate_limits"] == {"burst": {"per_second": 10, "burst": 20, "key": "address"}}
    assert shown["keys"] == [{"id": "k1", "issuer": "headgate", "audience": "headgate"}]
    assert "secret-looking" not in answer.text


async def test_where_limits_are_counted_and_what_holds_without() -> None:
    modes = {
        "fleet": Limit("fleet", 1, 2, LimitKey.ADDRESS, mode=LimitMode.FLEET, without_owner="strict"),
        "redis": Limit("redis", 1, 2, LimitKey.ADDRESS, mode=LimitMode.REDIS),
    }
    view = replace(HEALTHY, table=build(ResourceSet.of(*modes.values()), 1, "digest"))
    plain = {"per_second": 1, "burst": 2, "key": "address"}
    assert (await ask("/debug/config", view)).json()["rate_limits"] == {
        "fleet": {**plain, "mode": "fleet", "without_owner": "strict"},
        "redis": {**plain, "mode": "redis", "on_store_failure": "open"},
    }


@pytest.mark.parametrize("path", ["/", "/nothing", "/debug", "/ready/x"])
async def test_anything_else_is_not_there(path: str) -> None:
    assert (await ask(path)).status_code == 404


async def test_only_reading() -> None:
    transport = httpx.ASGITransport(make_app(lambda: HEALTHY))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as client:
        assert (await client.post("/health")).status_code == 405


@pytest.mark.parametrize(
    ("path", "exposed", "status"),
    [
        ("/health", {"/health"}, 200),
        ("/ready", {"/health"}, 403),
        ("/debug/config", {"/health", "/metrics"}, 403),
        ("/metrics", {"/health"}, 403),
        ("/metrics", {"/health", "/metrics"}, 200),
    ],
)
async def test_a_gateway_leads_to_no_more_than_its_traffic_port_has(
    path: str, exposed: set[str], status: int
) -> None:
    """A service may have registered this port as an instance of its own."""
    transport = httpx.ASGITransport(make_app(lambda: HEALTHY, exposed))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as client:
        answer = await client.get(path, headers={"X-Forwarded-For": "192.0.2.1"})
        assert answer.status_code == status
        assert "orders-1" not in answer.text or status == 200


async def test_openmetrics_has_exemplars() -> None:
    key = SeriesKey("orders", "orders", "orders-1", "GET", "http", 200, "forwarded")
    seen = Seen(key, 0.0021, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1700000000.0)
    view = replace(HEALTHY, totals=replace(HEALTHY.totals, exemplars={"orders": {1: seen}}))
    transport = httpx.ASGITransport(make_app(lambda: view))
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as client:
        plain = await client.get("/metrics")
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        asked = await client.get("/metrics", headers={"accept": accept})
    assert plain.headers["content-type"].startswith("text/plain") and "trace_id" not in plain.text
    assert asked.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(openmetrics_families(asked.text))  # type: ignore[no-untyped-call]
    (family,) = (each for each in families if each.name == "headgate_request_duration_seconds")
    (exemplar,) = (sample.exemplar for sample in family.samples if sample.exemplar)
    assert exemplar.labels == {"trace_id": seen.trace, "span_id": seen.span}
    assert (exemplar.value, float(exemplar.timestamp)) == (0.0021, 1700000000.0)


async def test_what_telemetry_has_exported_and_lost() -> None:
    totals = replace(HEALTHY.totals, telemetry_drops={"traces": 2})
    found = await metrics(replace(HEALTHY, telemetry={"traces": (10, 3)}, totals=totals))
    assert found["headgate_telemetry_exported_total", (("signal", "traces"),)] == 10
    assert found["headgate_telemetry_dropped_total", (("signal", "traces"),)] == 5
