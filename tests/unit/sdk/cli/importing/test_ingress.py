"""headgate import ingress."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_admin import FakeAdmin
from tests.support.imports import Imported, imported

NGINX = "nginx.ingress.kubernetes.io/"
SHOP = """\
apiVersion: v1
kind: Service
metadata: {name: shop}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: web
  annotations:
    nginx.ingress.kubernetes.io/limit-rps: "10"
    nginx.ingress.kubernetes.io/limit-connections: "20"
    nginx.ingress.kubernetes.io/proxy-body-size: 8m
    nginx.ingress.kubernetes.io/proxy-read-timeout: "30"
    nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8, 192.0.2.1
    nginx.ingress.kubernetes.io/denylist-source-range: 10.9.0.0/16
    nginx.ingress.kubernetes.io/enable-cors: "true"
    nginx.ingress.kubernetes.io/cors-allow-origin: https://a.example.org, nonsense
    nginx.ingress.kubernetes.io/affinity: cookie
    nginx.ingress.kubernetes.io/upstream-vhost: inner.example.org
    nginx.ingress.kubernetes.io/configuration-snippet: "deny all;"
    other.example.org/note: x
spec:
  tls: [{hosts: [shop.example.org], secretName: shop}]
  rules:
    - host: shop.example.org
      http:
        paths:
          - {path: /cart/, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}
          - {path: /about, pathType: Exact, backend: {service: {name: cart, port: {name: web}}}}
          - {path: /file, pathType: Prefix, backend: {resource: {kind: Bucket, name: b}}}
    - host: "bad host"
      http: {paths: [{path: /}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: next
  namespace: web
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: "20"
    nginx.ingress.kubernetes.io/canary-by-header: X-Next
spec:
  rules:
    - host: shop.example.org
      http:
        paths:
          - {path: /cart/, pathType: Prefix, backend: {service: {name: cart-next, port: {number: 80}}}}
          - {path: /none, pathType: Prefix, backend: {service: {name: cart-next, port: {number: 80}}}}
"""


@pytest.fixture
def shop(run: Any) -> Imported:
    return imported(run, "ingress", SHOP)


def test_backends_become_services(shop: Imported) -> None:
    assert shop.names("services") == ["cart", "cart-2", "cart-next"]
    assert shop.one("services", "cart") == {
        "service_name": "cart",
        "timeouts": {"connect": 5, "response": 30.0, "idle": 30.0},
        "load_balancer": "ip_hash",
        "instances": [{"instance_id": "cart", "host": "cart.web.svc.cluster.local", "port": 80}],
    }
    assert "instances" not in shop.one("services", "cart-2")
    at = "[1].spec.rules[0].http.paths"
    assert shop.noted(f"{at}[1].backend.service.port")[0].startswith("left out: a port by name")
    assert shop.noted(f"{at}[2].backend") == ["left out: a backend that is no Service; the path is left out"]
    assert shop.noted("[0].kind") == ["left out: Service: not an Ingress of v1"]
    assert shop.noted("[1].spec.rules[1].host")[0].startswith("left out: no host")


def test_paths_become_routes(shop: Imported) -> None:
    assert shop.names("routes") == ["shop-cart", "shop-about", "shop-cart-next"]
    cart = shop.one("routes", "shop-cart")
    assert (cart["hosts"], cart["prefix"]) == (["shop.example.org"], "/cart")
    assert (cart["public"], cart["rewrite_host"]) == (True, "inner.example.org")
    assert cart["upgrades"] == ["websocket"]
    assert shop.one("routes", "shop-about")["path"] == "/about"


def test_annotations_become_fields(shop: Imported) -> None:
    cart = shop.one("routes", "shop-cart")
    assert cart["max_body_bytes"] == 8 << 20
    assert cart["allow_addresses"] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert cart["deny_addresses"] == ["10.9.0.0/16"]
    assert cart["cors"]["allow_origins"] == ["https://a.example.org"]
    assert (cart["cors"]["allow_credentials"], cart["cors"]["max_age"]) == (True, 86_400)
    assert cart["rate_limits"] == ["shop", "shop-2"]
    assert shop.document["rate_limits"] == [
        {"name": "shop", "requests": 10, "per": "second", "burst": 50, "key": "address"},
        {"name": "shop-2", "max_concurrent": 20, "key": "address"},
    ]
    at = f'[1].metadata.annotations["{NGINX}'
    assert shop.noted(f'{at}configuration-snippet"]') == ["left out: no counterpart"]
    assert shop.noted(f'{at}affinity"]')[0].startswith("changed: callers stay")
    assert shop.noted(f'{at}cors-allow-origin"]') == ["left out: origins of another form"]
    assert shop.noted("[1].spec.tls")[0].startswith("left out: certificates")


def test_a_canary_joins_its_main_route(shop: Imported) -> None:
    assert shop.one("routes", "shop-cart")["services"] == [
        {"service_name": "cart", "weight": 80},
        {"service_name": "cart-next", "weight": 20},
    ]
    by_header = shop.one("routes", "shop-cart-next")
    assert by_header["headers"] == [{"name": "x-next", "exact": "always"}]
    assert by_header["service_name"] == "cart-next"
    assert shop.noted("[2].spec.rules[0].http.paths[1]")[0].startswith("left out: a canary without")


def test_http_is_redirected_by_a_listener(run: Any, shop: Imported) -> None:
    assert shop.noted("[1].spec.rules[0].http.paths[0]")[0].startswith("left out: the redirect from http")
    found = imported(run, "ingress", SHOP, "--http-port", "8088")
    assert found.document["listeners"] == [{"name": "http", "port": 8088}]
    assert found.one("routes", "shop-cart")["listeners"] == ["default"]
    assert found.one("routes", "shop-cart-to-https")["redirect"] == {"scheme": "https", "status": 308}


def _one(run: Any, path: str, **annotations: str) -> Imported:
    lines = "".join(
        f"    {NGINX}{name.replace('_', '-')}: '{value}'\n" for name, value in annotations.items()
    )
    rule = f"{{path: '{path}', pathType: Prefix, backend: {{service: {{name: s, port: {{number: 80}}}}}}}}"
    text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: a\n  annotations:\n"
    return imported(run, "ingress", f"{text}{lines}spec: {{rules: [{{http: {{paths: [{rule}]}}}}]}}\n")


REGEX = "(?i:/v([0-9]+)/x).*"


@pytest.mark.parametrize(
    ("path", "target", "fields"),
    [
        ("/shop(/|$)(.*)", "/$2", {"prefix": "/shop", "strip_prefix": True}),
        ("/shop/(.*)", "/$1", {"prefix": "/shop", "strip_prefix": True}),
        ("/(.*)", "/$1", {"prefix": "/"}),
        ("/shop", "/", {"path_regex": "(?i:/shop).*", "rewrite_full": "/"}),
        (
            "/v([0-9]+)/x",
            "/api/$1",
            {"path_regex": REGEX, "rewrite_regex": {"pattern": f"^{REGEX}", "substitution": r"/api/\1"}},
        ),
    ],
)
def test_rewrites(run: Any, path: str, target: str, fields: dict[str, Any]) -> None:
    route = _one(run, path, rewrite_target=target).document["routes"][0]
    kept = ("prefix", "strip_prefix", "path_regex", "rewrite_full", "rewrite_regex")
    assert {name: route[name] for name in kept if name in route} == fields


def test_expressions_without_a_rewrite(run: Any) -> None:
    assert _one(run, "/a[0-9]", use_regex="true").document["routes"][0]["path_regex"] == "(?i:/a[0-9]).*"
    for path, more in (
        ("/a(?=b)", {}),
        ("/a", {"rewrite_target": "/$3"}),
        ("/a", {"rewrite_target": "$uri"}),
    ):
        assert "routes" not in _one(run, path, use_regex="true", **more).document


@pytest.mark.parametrize(("name", "status"), [("permanent_redirect", 301), ("temporal_redirect", 302)])
def test_redirects(run: Any, name: str, status: int) -> None:
    found = _one(run, "/a", **{name: "https://b.example/x"})
    redirect = {"scheme": "https", "host": "b.example", "path": "/x", "status": status}
    assert found.document["routes"][0]["redirect"] == redirect
    assert "services" not in found.document


@pytest.mark.parametrize("name", ["auth_url", "auth_type", "auth_tls_secret"])
def test_a_route_of_known_callers_is_not_opened(run: Any, name: str) -> None:
    found = _one(run, "/a", **{name: "http://x"})
    assert "public" not in found.document["routes"][0]
    assert any("callers need a token of Headgate" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("whitelist_source_range", "nonsense"),
            ("permanent_redirect", "/x?y"),
            ("backend_protocol", "GRPC"),
        ),
        ("denylist_source_range", "10.0.0.0/99"),
    ],
)
def test_what_narrows_a_route_is_not_dropped(run: Any, name: str, value: str) -> None:
    found = _one(run, "/a", **{name: value})
    assert "routes" not in found.document
    assert found.noted(f'metadata.annotations["{NGINX}{name.replace("_", "-")}"]')[0].startswith("left out")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("proxy_body_size", "0"), ("proxy_body_size", "x"), ("limit_rpm", "7"), ("limit_rps", "many")),
        *(("proxy_connect_timeout", "9s"), ("proxy_send_timeout", "9"), ("upstream_vhost", "a b")),
        *(("backend_protocol", "HTTPS"), ("load_balance", "ewma"), ("upstream_hash_by", "$remote_addr")),
        *(("upstream_hash_by", "$uri"), ("server_alias", "b.example,c"), ("force_ssl_redirect", "true")),
    ],
)
def test_other_values(run: Any, name: str, value: str) -> None:
    assert len(_one(run, "/a", **{name: value}).document["routes"]) == 1


@pytest.mark.parametrize(
    "spec", ["5", "{rules: [5, {}, {http: 5}]}", "{defaultBackend: {service: {name: a}}}"]
)
def test_odd_values_are_no_traceback(run: Any, spec: str) -> None:
    text = f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: 5\nspec: {spec}\n"
    listed = "\n  ".join(text.splitlines())
    result = run("import", "ingress", "-", input=f"kind: List\nitems:\n- {listed}\n")
    assert result.exit_code == 0, result.output


def test_the_result_can_be_applied(logged_in: Any, admin: FakeAdmin) -> None:
    imported(logged_in, "ingress", SHOP)
    text = logged_in("import", "ingress", "source.yaml").stdout
    assert logged_in("apply", "-f", "-", "--dry-run", input=text).exit_code == 0


@pytest.mark.parametrize("text", ["kind: Ingress\napiVersion: extensions/v1beta1\n", "[]\n", "5\n", ""])
def test_another_file_is_refused(run: Any, text: str) -> None:
    assert run("import", "ingress", "-", input=text).exit_code == 1
