"""headgate import kong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_admin import FakeAdmin
from tests.support.imports import Imported, imported

HEAD = '_format_version: "3.0"\n'
SHOP = (
    HEAD
    + """\
_plugin_configs: {shared: {minute: 60, policy: cluster}}
services:
  - name: Orders API
    host: orders-upstream
    protocol: https
    path: /api
    read_timeout: 10000
    write_timeout: 10000
    tags: [team:shop, "not a label!"]
    plugins:
      - {name: rate-limiting, config: {second: 40, hour: 1000, limit_by: ip, policy: redis, hide_client_headers: true}}
      - {name: prometheus}
    routes:
      - name: orders
        paths: [/orders, "~/o/(?<id>\\\\d+)", "~/look(?=ahead)", /v2/]
        hosts: ["*.example.org", "shop.example.org:8443", "shop.*"]
        methods: [GET, TRACE]
        headers: {x-version: ["2"], x-kind: [a, b.c]}
        plugins:
          - {name: jwt}
          - {name: rate-limiting, _config: shared}
      - name: orders
        protocols: [https]
        strip_path: false
        preserve_host: true
      - {name: by-sni, paths: [/s], snis: [a.example.org]}
      - name: bad-list
        paths: [/l]
        plugins: [{name: ip-restriction, config: {allow: [nonsense]}}]
  - {name: off, host: a, enabled: false}
  - {name: calls, url: "grpc://calls:9000", routes: [{name: calls}]}
  - {name: plain, url: "http://plain.internal:9000/base/", routes: [{name: plain, paths: [/p]}]}
routes:
  - name: extra
    service: {name: plain}
    paths: [/extra]
    preserve_host: true
  - name: gone
    paths: [/gone]
    plugins: [{name: request-termination, config: {status_code: 410, message: gone}}]
  - {name: lost, paths: [/lost]}
plugins:
  - name: cors
    config: {origins: ["https://a.example.org", 'https://.*\\.b\\.example$'], credentials: true, max_age: 3600}
  - {name: request-size-limiting, service: plain, config: {allowed_payload_size: 2}}
  - {name: key-auth, route: extra}
  - {name: rate-limiting, consumer: jo, config: {second: 1}}
  - {name: ip-restriction, enabled: false}
upstreams:
  - name: orders-upstream
    algorithm: least-connections
    host_header: orders.example.org
    healthchecks:
      active:
        http_path: /up
        healthy: {interval: 5, successes: 2}
        unhealthy: {http_failures: 3}
      passive: {unhealthy: {http_failures: 1}}
    targets:
      - {target: "10.0.0.7:9000", weight: 2000}
      - {target: "[2001:db8::1]:9000"}
      - {target: "10.0.0.9:9000", weight: 0}
consumers: [{username: jo}]
"""
)


@pytest.fixture
def shop(run: Any) -> Imported:
    return imported(run, "kong", SHOP)


def test_an_upstream_becomes_instances(shop: Imported) -> None:
    assert shop.names("services") == ["orders-api", "plain"]
    assert shop.one("services", "orders-api") == {
        "service_name": "orders-api",
        "timeouts": {"connect": 60.0, "response": 10.0, "idle": 10.0},
        "retries": {"attempts": 3},
        "labels": {"team": "shop"},
        "load_balancer": "least_request",
        "check_path": "/up",
        "check_interval": 5.0,
        "check_timeout": 1.0,
        "healthy_threshold": 2,
        "unhealthy_threshold": 3,
        "instances": [
            {"instance_id": "orders-api-1", "host": "10.0.0.7", "port": 9000, "weight": 1000},
            {"instance_id": "orders-api-2", "host": "2001:db8::1", "port": 9000, "weight": 50},
        ],
        "tls": {"enabled": True, "server_name": "orders.example.org"},
    }
    assert shop.noted("upstreams[0].targets[2]") == ["left out: a target of weight 0"]
    assert shop.noted("services[0].write_timeout") == ["left out: no counterpart"]
    assert shop.noted("services[0].tags[1]") == ["left out: no label can have this form"]
    assert shop.noted("services[1]") == ["left out: a service that is not enabled, with its routes"]
    assert shop.noted("services[2].protocol") == ["left out: services of grpc, with their routes"]
    assert shop.noted("consumers") == ["left out: 1 of consumers"]


def test_a_path_becomes_a_route(shop: Imported) -> None:
    assert shop.names("routes") == ["orders", "orders-2", "orders-3", "orders-4", "plain", "extra", "gone"]
    first = shop.one("routes", "orders")
    assert first["prefix"] == "/orders"
    assert first["rewrite"] == "/api"
    assert first["rewrite_host"] == "orders.example.org"
    assert first["hosts"] == ["*.example.org", "shop.example.org"]
    assert first["methods"] == ["GET"]
    assert first["headers"] == [
        {"name": "x-version", "exact": "2"},
        {"name": "x-kind", "regex": r"(?i:a|b\.c)"},
    ]
    second = shop.one("routes", "orders-2")
    assert second["path_regex"] == r"(?:/o/(?P<id>\d+)).*"
    assert second["rewrite_regex"] == {"pattern": r"^(?:/o/(?P<id>\d+))/?", "substitution": "/api/"}
    assert shop.one("routes", "orders-3")["prefix"] == "/v2"
    fourth = shop.one("routes", "orders-4")
    assert (fourth["prefix"], fourth["rewrite"]) == ("/", "/api")
    assert "rewrite_host" not in fourth
    assert shop.one("routes", "plain")["rewrite_host"] == "plain.internal"
    at = "services[0].routes[0]"
    assert shop.noted(f"{at}.paths[2]") == ["left out: not a regular expression of RE2"]
    assert shop.noted(f"{at}.hosts[2]")[0].startswith("left out: 'shop.*'")
    assert shop.noted("services[0].routes[1].protocols")[0].startswith("left out: the redirect from http")


def test_what_narrows_a_route_is_not_dropped(shop: Imported) -> None:
    assert shop.noted("services[0].routes[2].snis")[0].startswith(
        "left out: a condition without a counterpart"
    )
    assert (
        "the route services[0].routes[3] is left out"
        in (shop.noted("services[0].routes[3].plugins[0].config.allow")[0])
    )
    assert shop.noted("routes[2]") == ["left out: a route without a service"]


def test_the_most_specific_plugin_is_in_force(shop: Imported) -> None:
    limits = {row["name"]: row for row in shop.document["rate_limits"]}
    assert limits["per-minute"] == {
        "name": "per-minute",
        "requests": 60,
        "per": "minute",
        "key": "subject",
        "mode": "fleet",
        "advertise": True,
    }
    assert limits["per-second"]["on_store_failure"] == "open"
    assert shop.one("routes", "orders")["rate_limits"] == ["per-minute"]
    assert shop.one("routes", "orders-4")["rate_limits"] == ["per-second", "per-hour"]
    assert "rate_limits" not in shop.one("routes", "plain")
    assert shop.noted("plugins[3]") == ["left out: plugin rate-limiting for some consumers"]


def test_a_route_of_known_callers_is_not_opened(shop: Imported) -> None:
    assert "public" not in shop.one("routes", "orders")
    assert "public" not in shop.one("routes", "extra")
    assert shop.one("routes", "plain")["public"] is True
    assert shop.noted("plugins[2]") == ["left out: key-auth: callers need a token of Headgate instead"]


def test_bodies_answers_and_cors(shop: Imported) -> None:
    assert shop.one("routes", "orders")["max_body_bytes"] == 0
    assert shop.one("routes", "plain")["max_body_bytes"] == 2 << 20
    assert shop.one("routes", "gone")["respond"] == {"status": 410, "body": "gone"}
    cors = shop.one("routes", "gone")["cors"]
    assert cors["allow_origins"] == ["https://a.example.org"]
    assert cors["allow_origin_regex"] == [r"https://.*\.b\.example$"]
    assert (cors["allow_credentials"], cors["max_age"]) == (True, 3600)


def test_http_is_redirected_by_a_listener(run: Any) -> None:
    found = imported(run, "kong", SHOP, "--http-port", "8088")
    assert found.document["listeners"] == [{"name": "http", "port": 8088}]
    assert found.one("routes", "orders-4")["listeners"] == ["default"]
    assert found.one("routes", "orders-4-to-https")["redirect"] == {"scheme": "https", "status": 308}


def _plugin(run: Any, name: str, config: str) -> Imported:
    plugin = f"{{name: {name}, config: {config}}}"
    routes = f"[{{name: a, paths: [/a], plugins: [{plugin}]}}]"
    return imported(run, "kong", f"{HEAD}services: [{{name: s, host: s, routes: {routes}}}]\n")


AT = "services[0].routes[0].plugins[0].config"


def test_transformers_edit_header_fields(run: Any) -> None:
    edits = "{remove: {headers: [X-A], body: [b]}, add: {headers: ['X-B: 1', 'X-C:$(uri)', 'Host:a']}, "
    edits += "replace: {headers: ['X-D:${HOME}']}, rename: {headers: ['a:b']}}"
    found = _plugin(run, "request-transformer", edits)
    assert found.one("routes", "a")["request_headers"] == {
        "set": {"x-d": "${HOME}"},
        "add": {"x-b": "1"},
        "remove": ["x-a"],
    }
    for place in ("remove.body", "add.headers[1]", "add.headers[2]", "rename.headers"):
        assert found.noted(f"{AT}.{place}")[0].startswith("left out")
    assert found.noted(f"{AT}.replace.headers")[0].startswith("changed")
    response = _plugin(run, "response-transformer", "{append: {headers: ['x-a:b', 'date:x']}}")
    assert response.one("routes", "a")["response_headers"] == {"add": {"x-a": "b"}}


def test_redirects_and_addresses(run: Any) -> None:
    found = _plugin(run, "redirect", "{location: 'https://b.example/x', status_code: 308}")
    assert found.one("routes", "a")["redirect"] == {
        "scheme": "https",
        "host": "b.example",
        "path": "/x",
        "status": 308,
    }
    assert "routes" not in _plugin(run, "redirect", "{location: 'https://b.example/x?y'}").document
    found = _plugin(run, "ip-restriction", "{allow: [10.0.0.1/8, 192.0.2.7], deny: [10.0.0.9]}")
    route = found.one("routes", "a")
    assert route["allow_addresses"] == ["10.0.0.0/8", "192.0.2.7/32"]
    assert route["deny_addresses"] == ["10.0.0.9/32"]


@pytest.mark.parametrize("by", ["ip", "consumer", "credential", "header", "service", "path", "odd"])
def test_limits_by_anything(run: Any, by: str) -> None:
    config = f"{{day: 5, month: 9, limit_by: {by}, header_name: X-Key, error_code: 503}}"
    found = _plugin(run, "rate-limiting", config)
    keys = {"header": "header:x-key", "service": "route", "path": "route"}
    assert found.document["rate_limits"][0]["key"] == keys.get(by, "address")
    assert found.noted(f"{AT}.month") == ["left out: the longest time of a limit is a day"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "services: 5\nroutes: {}\nupstreams: [5]\n",
            "services: [{}]\n",
            "services: [{url: 'http://[::1'}]\n",
        ),
        "services: [{name: 5, host: [], port: x, routes: [{paths: 5, hosts: 5, headers: 5, methods: 5}]}]\n",
        "services: [{host: a, routes: [{paths: [a, '', '~', '~(', /%41, //]}]}]\n",
        "services: [{host: a, routes: [{hosts: ['a b'], plugins: 7}, {methods: [X]}, {protocols: [tcp]}]}]\n",
        "services: [{host: u, routes: [{}]}]\nupstreams: [{name: u, targets: [5, {}, {target: 'x:y:z'}]}]\n",
    ],
)
def test_odd_values_are_no_traceback(run: Any, text: str) -> None:
    imported(run, "kong", HEAD + text + "scopes: x\n")


def test_the_result_can_be_applied(logged_in: Any, admin: FakeAdmin) -> None:
    imported(logged_in, "kong", SHOP)
    text = logged_in("import", "kong", "source.yaml").stdout
    assert logged_in("apply", "-f", "-", "--dry-run", input=text).exit_code == 0


@pytest.mark.parametrize("text", ["services: []\n", '_format_version: "1.1"\n', "[]\n", ""])
def test_another_file_is_refused(run: Any, text: str) -> None:
    assert run("import", "kong", "-", input=text).exit_code == 1
