"""Services and instances: what is accepted, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.resources import Service, parse
from controlplane.model.stored import shown
from tests.unit.controlplane.model.raw_resources import check_accepted, check_refused, complaints, service

AUTHORITY = """-----BEGIN CERTIFICATE-----
MIHdMIGQoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMMAmNhMCAXDTIwMDEwMTAw
MDAwMFoYDzIxMDAwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJjYTAqMAUGAytlcAMh
ADrLGEmqO1Pqie0Unioyigq4r0+MfKlu6l0U/5K65R6hoxMwETAPBgNVHRMBAf8E
BTADAQH/MAUGAytlcANBAK0Pk4lTCa8i4nZiICZEmBXgGCXyi/U2KagyV3V/dV4m
Jt0W7KfRWFMkbU66zdgdFReOfQ9xQ+BBKeBMXlMI0g0=
-----END CERTIFICATE-----
"""

BROKEN = AUTHORITY.replace("MIH", "AAA")

KEY = AUTHORITY + "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n"


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("service", service(load_balancer="least_request", retries={"attempts": 0, "on": []})),
    ("service", service(load_balancer="ip_hash", circuit={"failure_ratio": 0})),
    ("service", service(instances=[{"instance_id": "a", "host": "::1", "port": 1}])),
    (
        "service",
        service(instances=[{"instance_id": "a", "host": "orders.internal", "port": 65535, "weight": 1000}]),
    ),
    ("service", service(instances=[{"instance_id": "a", "host": "unix:/run/apps/a.b_c@1.sock"}])),
    ("instance", {"service_name": "a", "instance_id": "0", "host": "unix:/" + 106 * "a"}),
    ("service", service(service_name="a" * 63)),
    ("service", service(tls={})),
    ("service", service(tls={"enabled": False, "server_name": "orders.internal", "ca": AUTHORITY})),
    ("service", service(tls={"ca": AUTHORITY * 2})),
    ("service", service(max_in_flight=100)),
    (
        "instance",
        {"service_name": "a", "instance_id": "0", "host": "10.0.0.1", "port": 80, "metadata": {"zone": "b"}},
    ),
]


@pytest.mark.parametrize(("kind", "raw"), GOOD)
def test_what_is_right_is_taken_and_survives_being_stored(kind: str, raw: dict[str, Any]) -> None:
    check_accepted(kind, raw)


BAD: list[tuple[str, object, str, str]] = [
    # kind, raw, field, a part of what is said of it
    ("service", [], "", "must be an object, not a list"),
    ("service", None, "", "must be an object, not nothing"),
    ("service", {}, "service_name", "is required"),
    ("service", service(service_name=""), "service_name", "1 to 253 lower-case letters"),
    ("service", service(service_name="a" * 254), "service_name", "1 to 253 lower-case letters"),
    # The data plane's built-in resources have such names.
    ("service", service(service_name="headgate:status"), "service_name", "1 to 253 lower-case letters"),
    ("service", service(service_name="Orders"), "service_name", "lower-case"),
    ("service", service(service_name="a/b"), "service_name", "lower-case"),
    ("service", service(service_name="a\n"), "service_name", "lower-case"),
    ("service", service(service_name="-a"), "service_name", "letter or digit at both ends"),
    ("service", service(service_name=7), "service_name", "must be a string, not a number"),
    ("service", service(chek_path="/"), "chek_path", "unknown field; did you mean 'check_path'?"),
    ("service", service(zzz=1), "zzz", "unknown field"),
    ("service", service(check_interval="30"), "check_interval", "must be a number, not a string"),
    ("service", service(check_interval=True), "check_interval", "must be a number, not true or false"),
    ("service", service(check_interval=0), "check_interval", "must be at least 0.1"),
    ("service", service(check_interval=float("inf")), "check_interval", "must be a finite number"),
    ("service", service(check_interval=float("nan")), "check_interval", "must be a finite number"),
    (
        "service",
        service(check_interval=10**400),
        "check_interval",
        "must be a number, not an integer above 64 bits",
    ),
    ("service", service(healthy_threshold=2.5), "healthy_threshold", "must be a whole number"),
    ("service", service(healthy_threshold=0), "healthy_threshold", "must be at least 1"),
    ("service", service(healthy_threshold=10**30), "healthy_threshold", "must be at most 100"),
    ("service", service(check_path="health"), "check_path", "must start with '/'"),
    (
        "service",
        service(load_balancer="random"),
        "load_balancer",
        "'round_robin', 'least_request' or 'ip_hash'",
    ),
    ("service", service(circuit=None), "circuit", "must be an object, not nothing"),
    ("service", service(circuit={"failure_ratio": 1.1}), "circuit.failure_ratio", "must be at most 1"),
    ("service", service(circuit={"threshold": 1}), "circuit.threshold", "unknown field"),
    ("service", service(timeouts={"connect": -1}), "timeouts.connect", "must be at least 0.01"),
    ("service", service(retries={"attempts": 4}), "retries.attempts", "must be at most 3"),
    ("service", service(retries={"budget": 1.1}), "retries.budget", "must be at most 1"),
    ("service", service(retries={"budget": "20%"}), "retries.budget", "must be a number, not a string"),
    (
        "service",
        service(retries={"on": ["connect", 404]}),
        "retries.on[1]",
        "must be 'connect', 'reset', 'timeout', 500, 502, 503 or 504",
    ),
    ("service", service(retries={"on": [503, "503"]}), "retries.on", "503"),
    (
        "service",
        service(retries={"on": ["sunshine"]}),
        "retries.on[0]",
        "must be 'connect', 'reset', 'timeout', 500, 502, 503 or 504",
    ),
    ("service", service(retries={"on": [16**5000]}), "retries.on[0]", "integer"),
    ("service", service(timeouts={"total": -1}), "timeouts.total", "must be at least 0"),
    ("service", service(retries={"on": "connect"}), "retries.on", "must be a list, not a string"),
    ("service", service(instances={}), "instances", "must be a list, not an object"),
    ("service", service(instances=["a:80"]), "instances[0]", "must be an object, not a string"),
    (
        "service",
        service(instances=[{"instance_id": "a", "host": "h", "port": 1}] * 2),
        "instances[1].instance_id",
        "'a' is there twice",
    ),
    (
        "service",
        service(instances=[{"instance_id": str(i), "host": "h", "port": 1} for i in range(257)]),
        "instances",
        "must have at most 256 entries",
    ),
    ("service", service(tls=True), "tls", "must be an object"),
    ("service", service(tls={"verify": False}), "tls.verify", "unknown field"),
    ("service", service(tls={"server_name": "A.example"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"server_name": "*.example"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"server_name": "10.0.0.1"}), "tls.server_name", "a host name in lower case"),
    ("service", service(tls={"ca": "/etc/ca.pem"}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": ""}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": AUTHORITY + "é"}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": BROKEN}), "tls.ca", "one or more certificates in PEM"),
    ("service", service(tls={"ca": KEY}), "tls.ca", "but holds a private key"),
    ("service", service(max_in_flight=0), "max_in_flight", "must be at least 1"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": "80"},
        "port",
        "not a string",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "h", "port": 0}, "port", "at least 1"),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "h"}, "port", "is required"),
    ("service", service(instances=[{"instance_id": "a", "host": "h"}]), "instances[0].port", "is required"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "unix:/run/a", "port": 80},
        "port",
        "a Unix socket has none",
    ),
    *(
        (
            "instance",
            {"service_name": "a", "instance_id": "b", "host": f"unix:{path}"},
            "host",
            "absolute path",
        )
        for path in ("", "/", "run/a", "//run/a", "/run/a/", "/run//a", "/run/../a", "/run/./a", "@a", "/a b")
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "unix:/" + 107 * "a"},
        "host",
        "at most 107 characters",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 65536},
        "port",
        "at most 65535",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h:80", "port": 80},
        "host",
        "without port",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "[::1]", "port": 80}, "host", "brackets"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "1.2.3", "port": 80},
        "host",
        "IP address",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "256.1.1.1", "port": 80},
        "host",
        "IP address",
    ),
    ("instance", {"service_name": "a", "instance_id": "b", "host": "*.b", "port": 80}, "host", "IP address"),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "weight": 0},
        "weight",
        "at least",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "metadata": {"a b": "c"}},
        "metadata.a b",
        "1 to 63 letters",
    ),
    (
        "instance",
        {"service_name": "a", "instance_id": "b", "host": "h", "port": 80, "metadata": {"a": 1}},
        "metadata.a",
        "must be a string",
    ),
]


@pytest.mark.parametrize(("kind", "raw", "field", "detail"), BAD)
def test_what_is_wrong_is_told_with_its_field(kind: str, raw: object, field: str, detail: str) -> None:
    check_refused(kind, raw, field, detail)


def test_a_service_needs_only_a_name_and_has_the_contract_s_defaults() -> None:
    made = parse("service", service())
    assert shown(made) == {
        "service_name": "orders",
        "check_path": "/health",
        "check_interval": 30,
        "check_timeout": 5,
        "healthy_threshold": 2,
        "unhealthy_threshold": 3,
        "load_balancer": "round_robin",
        "circuit": {
            "failure_threshold": 5,
            "failure_ratio": 0.5,
            "failure_window": 60,
            "min_throughput": 2,
            "recovery_timeout": 30,
            "half_open_timeout": 10,
            "half_open_requests": 1,
        },
        "timeouts": {"connect": 5, "response": 15, "idle": 300, "total": 0},
        "retries": {"attempts": 1, "on": ["connect"], "budget": 0.2},
        "max_in_flight": None,
        "tls": None,
        "description": "",
        "labels": {},
        "instances": [],
        "discovery": None,
        "registration": None,
    }


def test_yaml_s_on_is_understood_though_yaml_reads_it_as_true() -> None:
    made = parse("service", service(retries={True: ["connect"], "attempts": 2}))
    assert isinstance(made, Service)
    assert made.retries.on == ("connect",)
    assert "retries.on[0]" in complaints("service", service(retries={True: ["rest"]}))


def test_a_status_to_retry_on_may_be_quoted() -> None:
    made = parse("service", service(retries={"on": ["reset", "503", 504]}))
    assert isinstance(made, Service)
    assert made.retries.on == ("reset", 503, 504)
