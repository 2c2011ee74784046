"""Whole documents: everything that is wrong in one list, with paths that lead to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.document import read_document
from controlplane.model.resources import RateLimit, Route, Scope
from controlplane.model.validate import check_references

DEMO = Path(__file__).parents[4] / "examples" / "demo.yaml"


def problems(raw: object) -> list[str]:
    read = read_document(raw)
    return [str(problem) for problem in (*read.problems, *check_references({}, read.declared))]


def test_an_empty_document_is_right_and_declares_nothing() -> None:
    assert read_document({}) == read_document({"routes": None, "users": []})
    assert read_document({}).declared == ()
    assert problems({}) == []


@pytest.mark.parametrize("raw", [None, [], "routes", 7, True])
def test_a_document_is_an_object(raw: object) -> None:
    assert problems(raw) == [
        "must be an object with some of services, routes, scopes, users, rate_limits, certificates, listeners, pools, "
        "issuers",
    ]


def test_resources_know_where_they_were_declared() -> None:
    read = read_document({"scopes": [{"name": "a"}, {"name": "b"}], "routes": [{"name": 5}]})
    assert [(item.kind, item.name, item.where) for item in read.declared] == [
        ("route", "", "routes[0]"),
        ("scope", "a", "scopes[0]"),
        ("scope", "b", "scopes[1]"),
    ]
    assert read.declared[0].resource is None
    assert read.declared[1].resource == Scope(name="a")


def test_sections_that_do_not_exist() -> None:
    raw = {"rotues": [], "instances": [], "apiVersion": "v1", 5: [], "scope": []}
    assert problems(raw) == [
        "rotues: unknown field; did you mean 'routes'?",
        "instances: instances cannot be declared here: they register themselves, or are listed in their service",
        "apiVersion: unknown field",
        "must have names that are strings",
        "scope: unknown field; did you mean 'scopes'?",
    ]


@pytest.mark.parametrize("section", [{}, "a", 7, True])
def test_a_section_is_a_list(section: object) -> None:
    assert problems({"routes": section}) == ["routes: must be a list"]


def test_everything_that_is_wrong_is_told_in_one_go() -> None:
    raw: dict[str, Any] = yaml.safe_load("""
        services:
          - service_name: orders
            check_interval: "30"
            retries: {attempts: 9, on: [connect, 404]}
        routes:
          - {name: a, prefix: /a/, service_name: orders, scopes: [nope]}
          - {name: a, prefix: /b, service_name: nowhere, rate_limits: [few, many]}
          - {name: c, prefix: /b, service_name: orders, mehtods: [GET]}
          - 5
        users:
          - {username: u, password: short, scopes: [nope]}
        rate_limits:
          - {name: few, per_second: 0, burst: 1}
        issuers:
          - {issuer: x}
        gateways: []
    """)
    assert problems(raw) == [
        "gateways: unknown field",
        "services[0].check_interval: must be a number, not a string",
        "services[0].retries.attempts: must be at most 3",
        "services[0].retries.on[1]: must be 'connect', 'reset', 'timeout', 500, 502, 503 or 504",
        "routes[0].prefix: must not end with '/': '/a' matches whole path segments already",
        "routes[2].mehtods: unknown field; did you mean 'methods'?",
        "routes[3]: must be an object, not a number",
        "users[0].password: must have 8 to 128 characters",
        "rate_limits[0].per_second: must be at least 0.001",
        "issuers[0]: trusting outside issuers is not built yet",
        "routes[1].name: 'a' is there twice, first as routes[0]",
        "routes[0].scopes[0]: scope 'nope' does not exist",
        "routes[1].service_name: service 'nowhere' does not exist",
        "routes[1].rate_limits[1]: rate limit 'many' does not exist",
        "users[0].scopes[0]: scope 'nope' does not exist",
    ]


def test_the_demo_s_document_is_right() -> None:
    raw = yaml.safe_load(DEMO.read_text())
    assert problems(raw) == []
    found = {(item.kind, item.name): item.resource for item in read_document(raw).declared}
    assert {name for kind, name in found if kind == "route"} == {"orders", "payments", "public", "together"}
    public, limit = found["route", "public"], found["rate_limit", "public"]
    assert isinstance(public, Route)
    assert isinstance(limit, RateLimit)
    assert public.public and public.rate_limits == ("public",)
    assert limit.key == "address"
    together = found["rate_limit", "together"]
    assert isinstance(together, RateLimit)
    assert together.mode == "fleet" and not list(together.warnings())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "name",
        "service_name",
        "username",
        "prefix",
        "path",
        "scopes",
        "hosts",
        "instances",
        "retries",
        "password",
        "key",
    ]
)
resources = st.dictionaries(fields, json_values, max_size=6)
sections = st.sampled_from(["services", "routes", "scopes", "users", "rate_limits", "issuers", "other"])


# On a busy machine examples are slow to make; what counts is that none of them breaks anything.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.dictionaries(sections, st.lists(resources | json_values, max_size=3) | json_values, max_size=4))
def test_no_document_breaks_the_reader(raw: dict[str, object]) -> None:
    read = read_document(raw)
    check_references({}, read.declared)
    assert read.problems or all(item.resource is not None for item in read.declared)


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ({}, ""),
        ({"scopes": [{"name": "a"}]}, "scopes[0]"),
        ({"services": [{"service_name": "a", "circuit": {}}]}, "services[0].circuit"),
    ],
)
def test_of_thousands_of_unknown_fields_some_are_named(document: dict[str, Any], at: str) -> None:
    value: Any = document
    for step in filter(None, re.split(r"[.\[\]]", at)):
        value = value[int(step) if step.isdecimal() else step]
    value.update({f"k{number}": 1 for number in range(5000)})
    found = problems(document)
    assert len(found) == 21
    assert f"{at}.k19: unknown field".lstrip(".") in found
    assert f"{at}: and 4980 more unknown fields".lstrip(": ") in found


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        ("routes", {"methods": [1] * 100_000}, 33),
        ("routes", {"hosts": [1] * 100_000}, 65),
        ("services", {"labels": {f"k{number}": 1 for number in range(100_000)}}, 33),
        ("services", {"retries": {"on": [1] * 100_000}}, 9),
    ],
)
def test_lists_that_are_too_long_are_not_looked_at_to_their_end(
    kind: str, fields: dict[str, Any], wrong: int
) -> None:
    raw = {"name": "a", "prefix": "/", "service_name": "a"} if kind == "routes" else {"service_name": "a"}
    found = [one for one in read_document({kind: [{**raw, **fields}]}).problems if one.field != ""]
    assert 0 < len(found) <= wrong


def test_a_list_that_is_too_long_and_right_otherwise() -> None:
    hosts = [f"h{number}.example" for number in range(100)]
    assert problems(
        {"scopes": [], "routes": [{"name": "a", "prefix": "/", "service_name": "a", "hosts": hosts}]}
    ) == [
        "routes[0].hosts: must have at most 64 entries",
        "routes[0].service_name: service 'a' does not exist",
    ]
