"""Discovery as a field of a service: what is refused, and which instances count."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.base import parse_as
from controlplane.model.config import build
from controlplane.model.discovered import Discovered, State, state_of
from controlplane.model.discovery import Discovery
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Resource, Service
from controlplane.model.stored import encode, key_of
from controlplane.store.protocol import Entry

KUBERNETES = {"namespace": "shop", "service": "orders"}


def problems(discovery: object) -> list[str]:
    with pytest.raises(InvalidConfig) as refused:
        parse_as(Service, {"service_name": "orders", "discovery": discovery})
    return [problem.field for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("discovery", "fields"),
    [
        ({}, ["discovery"]),
        ({"kubernetes": KUBERNETES, "dns": {"name": "a", "port": 1}}, ["discovery"]),
        ({"dns": {"name": "a.b"}}, ["discovery.dns.port"]),
        ({"dns": {"name": "a.b", "type": "SRV", "port": 80}}, ["discovery.dns.port"]),
        ({"dns": {"name": "a.b.", "port": 80}}, ["discovery.dns.name"]),
        ({"dns": {"name": "A.b", "port": 80, "type": "TXT"}}, ["discovery.dns.name", "discovery.dns.type"]),
        ({"kubernetes": {"namespace": "Shop", "service": "a.b"}}, ["namespace", "service"]),
        ({"kubernetes": {**KUBERNETES, "port": True}}, ["discovery.kubernetes.port"]),
        ({"kubernetes": {**KUBERNETES, "port": 65_536}}, ["discovery.kubernetes.port"]),
        ({"kubernetes": {**KUBERNETES, "port": "UPPER"}}, ["discovery.kubernetes.port"]),
        ({"kubernetes": {**KUBERNETES, "zones": [""]}}, ["discovery.kubernetes.zones[0]"]),
        ({"consul": {}}, ["discovery", "discovery.consul"]),
    ],
)
def test_wrong(discovery: Any, fields: list[str]) -> None:
    found = problems(discovery)
    assert len(found) == len(fields)
    assert all(any(one.endswith(field) for one in found) for field in fields), found


@pytest.mark.parametrize("port", ["http", 8080, None])
def test_ports(port: object) -> None:
    made = parse_as(Discovery, {"kubernetes": {**KUBERNETES, "port": port}})
    assert made.kubernetes is not None and made.kubernetes.port == port
    assert made.source == "Kubernetes Service shop/orders"


def entry(resource: Resource, revision: int) -> Entry:
    return Entry(key_of(resource.KIND, resource.name), encode(resource), revision, 0)


def found(*instances: dict[str, Any]) -> Discovered:
    defaults = {"host": "10.0.0.1", "port": 80, "revision": 3}
    return parse_as(
        Discovered, {"service_name": "orders", "instances": [{**defaults, **one} for one in instances]}
    )


def service(**fields: Any) -> Service:
    return parse_as(Service, {"service_name": "orders", **fields})


def test_found_instances_have_a_revision_of_their_own() -> None:
    entries = [
        entry(service(discovery={"kubernetes": KUBERNETES}), 5),
        entry(found({"instance_id": "one"}, {"instance_id": "two", "revision": 9}), 9),
    ]
    for order in (entries, entries[::-1]):
        snapshot = build(order, 9)
        shown = {one.instance_id for one in snapshot.instances("orders")}
        assert shown == {"one", "two"}
        assert snapshot.resources["instance", "orders/one"].revision == 3
        assert snapshot.resources["instance", "orders/two"].revision == 9
        assert ("discovered", "orders") not in snapshot.resources


@pytest.mark.parametrize("alone", [True, False])
def test_without_discovery_nothing_that_was_found_counts(alone: bool) -> None:
    entries = [entry(found({"instance_id": "one"}), 9), *([] if alone else [entry(service(), 5)])]
    assert [one for one in build(entries, 9).resources if one[0] == "instance"] == []


def test_the_state() -> None:
    discovery = parse_as(Discovery, {"kubernetes": KUBERNETES})
    source = "Kubernetes Service shop/orders"
    assert state_of(discovery, None) == State(source, 0, "no answer yet", 0.0)
    failing = found({"instance_id": "one"}).model_copy(update={"problem": "silent", "since": 7.0})
    assert state_of(discovery, failing) == State(source, 1, "silent", 7.0)
