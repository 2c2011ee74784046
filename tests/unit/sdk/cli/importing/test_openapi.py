"""headgate import openapi."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_admin import FakeAdmin
from tests.support.imports import imported

SHOP = """\
openapi: 3.1.0
info: {title: The Shop!, version: "2", summary: "Sells ${things}"}
servers:
  - {url: "https://{stage}.example.org:8443/v1", variables: {stage: {default: prod}}}
  - {url: "http://10.0.0.9"}
security: [{login: ["orders:read"]}]
paths:
  /orders:
    get: {responses: {}}
    post: {security: [{login: ["orders:read", "Orders/Write"]}], responses: {}}
  /orders/{id}/parts.{format}:
    get: {responses: {}}
    trace: {responses: {}}
  /about:
    get: {security: [], responses: {}}
  /maybe:
    get: {security: [{}, {login: []}], responses: {}}
  /keys:
    get: {security: [{key: []}, {login: []}], responses: {}}
  /shared: {$ref: "#/components/pathItems/Shared"}
  "/odd path": {get: {responses: {}}}
  /elsewhere:
    servers: [{url: "http://other"}]
    get: {servers: [{url: "http://other"}], responses: {}}
webhooks: {sold: {post: {responses: {}}}}
components:
  pathItems: {Shared: {delete: {responses: {}}}}
  securitySchemes:
    login: {$ref: "#/components/securitySchemes/real"}
    real:
      type: oauth2
      flows: {clientCredentials: {tokenUrl: x, scopes: {"orders:read": Look at orders}}}
    key: {type: apiKey, in: header, name: X-Key}
"""


def test_servers_become_instances(run: Any) -> None:
    found = imported(run, "openapi", SHOP)
    assert found.document["services"] == [
        {
            "service_name": "the-shop",
            "description": "Sells ${things}",
            "instances": [{"instance_id": "the-shop-1", "host": "prod.example.org", "port": 8443}],
            "tls": {"enabled": True},
        }
    ]
    assert found.noted("servers[1]")[0].startswith("left out: a further server")
    assert found.noted("servers[0].variables") == ["changed: the defaults are used"]


def test_paths_become_routes(run: Any) -> None:
    found = imported(run, "openapi", SHOP)
    assert found.names("routes") == [
        *("the-shop-orders-get", "the-shop-orders-post", "the-shop-orders-id-parts.format"),
        *("the-shop-about", "the-shop-maybe", "the-shop-keys", "the-shop-shared", "the-shop-elsewhere"),
    ]
    assert found.one("routes", "the-shop-orders-get") == {
        "name": "the-shop-orders-get",
        "path": "/v1/orders",
        "methods": ["GET"],
        "service_name": "the-shop",
        "scopes": ["orders:read"],
    }
    templated = found.one("routes", "the-shop-orders-id-parts.format")
    assert templated["path_regex"] == r"/v1/orders/[^/]+/parts\.[^/]+"
    assert found.noted("paths./orders/{id}/parts.{format}.trace") == ["left out: the gateway serves no TRACE"]
    assert found.noted("paths./odd path") == ["left out: no path that a route can have (RFC 3986, 3.3)"]
    for place in ("paths./elsewhere.servers", "paths./elsewhere.get.servers", "webhooks"):
        assert found.noted(place)[0].startswith("left out: ")


def test_security_becomes_scopes(run: Any) -> None:
    found = imported(run, "openapi", SHOP)
    assert found.document["scopes"] == [
        {"name": "orders:read", "description": "Look at orders"},
        {"name": "orders-write"},
    ]
    assert found.one("routes", "the-shop-orders-post")["scopes"] == ["orders:read", "orders-write"]
    assert found.one("routes", "the-shop-about")["public"] is True
    assert found.one("routes", "the-shop-maybe")["public"] is True
    assert not {"public", "scopes"} & set(found.one("routes", "the-shop-keys"))
    assert found.noted("components.securitySchemes.key")[0].startswith("left out: type apiKey")
    assert found.noted("paths./keys.get.security[1]")[0].startswith("left out: alternatives")
    assert found.noted("paths./orders.post.security[0].login")[0].startswith("changed: scope")


def test_a_prefix_is_removed_before_the_service(run: Any) -> None:
    found = imported(run, "openapi", SHOP, "--service", "Shop", "--prefix", "/shop/")
    assert found.names("services") == ["shop"]
    plain = found.one("routes", "shop-about")
    assert (plain["path"], plain["rewrite"]) == ("/shop/v1/about", "/v1/about")
    templated = found.one("routes", "shop-orders-id-parts.format")
    assert templated["path_regex"].startswith("/shop/v1/orders/")
    assert templated["rewrite_regex"] == {"pattern": "^/shop", "substitution": ""}


def test_strict_is_about_what_is_left_out(run: Any) -> None:
    assert imported(run, "openapi", SHOP).exit_code == 0
    assert imported(run, "openapi", SHOP, "--strict").exit_code == 1
    whole = "openapi: 3.0.4\ninfo: {title: a}\nservers: [{url: 'http://a'}]\npaths: {/x: {get: {}}}\n"
    assert imported(run, "openapi", whole, "--strict").exit_code == 0


def test_the_result_can_be_applied(logged_in: Any, admin: FakeAdmin) -> None:
    imported(logged_in, "openapi", SHOP)
    text = logged_in("import", "openapi", "source.yaml").stdout
    assert logged_in("apply", "-f", "-", "--dry-run", input=text).exit_code == 0
    assert "services: [{" not in text


@pytest.mark.parametrize(
    "text",
    [
        *("swagger: '2.0'\n", "[]\n", "{}\n", "openapi: 3.0.0\n---\nopenapi: 3.0.0\n", ""),
        *("a: b: c\n", "openapi: 3\n"),
    ],
)
def test_another_file_is_refused(run: Any, text: str) -> None:
    result = run("import", "openapi", "-", input=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("headgate: standard input")


@pytest.mark.parametrize(
    "server", ["/v1", "http://[::1", "http://a:99999", "ftp://a", "http://{x}", "", "http://bad_host-/", 5]
)
def test_an_odd_server_is_left_out(run: Any, server: object) -> None:
    text = f"openapi: 3.0.0\ninfo: {{title: '@'}}\nservers: [{{url: {server!r}}}]\npaths: {{/x: {{get: {{}}}}}}\n"
    found = imported(run, "openapi", text)
    assert "instances" not in found.document["services"][0]
    assert found.noted("servers[0].url")[0].startswith("left out")
