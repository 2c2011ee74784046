"""What a service may register, and what only people may."""

from __future__ import annotations

from ipaddress import ip_network
from types import MappingProxyType

import pytest

from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Instance, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped
from controlplane.rpc.client_certificate import Role
from controlplane.rpc.credentials import Caller
from controlplane.rpc.errors import Refused
from controlplane.rpc.rules import Rules

SERVICE, ADMIN = Caller(Role.SERVICE, None), Caller(Role.USER, "admin")


def instance(host: str = "10.0.0.1", name: str = "a", service: str = "orders") -> Instance:
    return Instance(service_name=service, instance_id=name, host=host, port=9000)


SPECIAL = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "::ffff:127.0.0.1",
    "2002:7f00:1::",
    "169.254.169.254",
    "fe80::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "localhost",
    "LocalHost.",
    "x.localhost",
    "ip6-loopback",
    "0x7f000001",
    "0x7f.1",
    "a.0x1",
]


@pytest.mark.parametrize("host", SPECIAL)
def test_addresses_that_mean_something_else_to_a_data_plane(host: str) -> None:
    assert Rules().complaint(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "fd00::1", "8.8.8.8", "orders", "orders.prod.svc", "1.orders"]
)
def test_addresses_of_services(host: str) -> None:
    assert Rules().complaint(host) is None


def test_settings_permit_and_forbid() -> None:
    rules = Rules(allow=(ip_network("127.0.0.0/8"),), deny=(ip_network("10.1.0.0/16"),))
    assert [
        host
        for host in ("127.0.0.1", "localhost", "169.254.169.254", "10.1.2.3", "10.2.0.1")
        if rules.complaint(host)
    ] == [
        "169.254.169.254",
        "10.1.2.3",
    ]
    assert "REGISTER_ALLOW" in str(rules.complaint("::1"))
    assert "REGISTER_DENY" in str(rules.complaint("10.1.2.3"))


def test_unix_sockets_only_in_allowed_folders() -> None:
    rules = Rules(sockets=("/run/apps", "/srv/sockets/"))
    hosts = [
        "/run/apps/a.sock",
        "/run/apps/team/a.sock",
        "/srv/sockets/a",
        "/run/apps-too/a",
        "/run/docker.sock",
    ]
    assert [host for host in hosts if rules.complaint(f"unix:{host}")] == hosts[3:]
    assert "UNIX_SOCKETS" in str(Rules().complaint("unix:/run/apps/a.sock"))


def test_services_are_bound_and_administrators_are_not() -> None:
    with pytest.raises(InvalidConfig, match="loopback"):
        Rules().check(instance("127.0.0.1"), None, SERVICE, None)
    Rules().check(instance("127.0.0.1"), None, ADMIN, None)


def test_nobody_fills_the_table() -> None:
    orders = Service(service_name="orders")
    resources = {("service", "orders"): Stamped(orders, 1)}
    resources |= {("instance", f"orders/{name}"): Stamped(instance(name=name), 1) for name in "ab"}
    snapshot, rules = Snapshot(1, MappingProxyType(resources)), Rules(most_instances=2, most_services=1)
    rules.check(instance(name="a"), orders, SERVICE, snapshot)
    with pytest.raises(Refused, match=r"limit of instances .REGISTER_MOST_INSTANCES: 2"):
        rules.check(instance(name="c"), orders, SERVICE, snapshot)
    payments = Service(service_name="payments")
    with pytest.raises(Refused, match="there is 1 service "):
        rules.check(instance(service="payments"), payments, SERVICE, snapshot)
    rules.check(instance(service="payments"), payments, ADMIN, snapshot)
