"""Names that resolve to special addresses: refused by address, whatever the name."""

from __future__ import annotations

import pytest

from dataplane.proxy.targets import ForbiddenAddress, Targets


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"),
        *("127.0.0.1", "127.0.1.1", "::1", "0.0.0.0", "::", "0.1.2.3", "224.0.0.1", "ff02::1", "240.0.0.1"),
        *("::ffff:169.254.169.254", "::ffff:127.0.0.1", "2002:a9fe:a9fe::1"),
    ],
)
def test_special_addresses_are_refused(address: str) -> None:
    with pytest.raises(ForbiddenAddress, match=r"orders.example resolves to .*REGISTER_ALLOW"):
        Targets().permitted("orders.example", (address,))
    assert Targets().permitted("orders.example", (address, "10.0.0.1")) == ("10.0.0.1",)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.17.0.2", "8.8.8.8", "fd00::1", "2001:db8::1"]
)
def test_ordinary_addresses_are_not(address: str) -> None:
    assert Targets().permitted("orders.example", (address,)) == (address,)


def test_networks_that_are_allowed() -> None:
    targets = Targets(["169.254.7.0/24", "::1/128"])
    assert targets.permitted("a", ("169.254.7.1", "169.254.8.1", "::1")) == ("169.254.7.1", "::1")


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "fd00:1::7"])
def test_networks_that_are_denied(address: str) -> None:
    """Also those that are allowed, as at the control planes."""
    targets = Targets(["127.0.0.0/8"], ["10.1.0.0/16", "127.0.0.0/24", "fd00:1::/32"])
    for name in ("orders.example", "localhost"):
        with pytest.raises(ForbiddenAddress, match="REGISTER_DENY"):
            targets.permitted(name, (address,))
        assert targets.permitted(name, (address, "10.2.0.1")) == ("10.2.0.1",)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "orders.localhost", "ip6-loopback", "localhost."])
def test_loopback_names_say_so_themselves(name: str) -> None:
    assert Targets().permitted(name, ("127.0.0.1", "::1")) == ("127.0.0.1", "::1")
    with pytest.raises(ForbiddenAddress):
        Targets().permitted(name, ("169.254.169.254",))


def test_no_address_is_no_offence() -> None:
    assert Targets().permitted("a", ()) == ()
