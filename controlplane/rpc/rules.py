"""Rules for registrations by services. Users with gateway:admin may register everything.

A registration makes the data planes open connections to the address of its instance. So addresses that mean something
else to a data plane than to the service are refused: its own loopback, where its status port listens, Unix sockets of
its node, such as a container engine's, and link-local addresses, where clouds answer with credentials. The table cannot
be filled up either: the instances of a service are bounded, and so is the number of services that registrations create.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import PurePosixPath

from controlplane.model.fields import UNIX
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Instance, Service
from controlplane.model.service import is_socket
from controlplane.model.snapshot import Snapshot
from controlplane.model.words import count
from controlplane.rpc.client_certificate import Role
from controlplane.rpc.credentials import Caller
from controlplane.rpc.errors import Code, Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LOOPBACK_NAME = re.compile(r"(?:.*\.)?(?:localhost|localhost\.localdomain|ip6-localhost|ip6-loopback)\.?")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
"""Texts that resolvers accept as an address in an old notation (inet_aton)."""
_ELSEWHERE = (
    "It is a different host for a data plane than for the service; if this is intended, add the address to "
    "REGISTER_ALLOW of the control planes"
)
_METADATA = (
    ip_network("169.254.169.254/32"),
    ip_network("fd00:ec2::254/128"),
    ip_network("100.100.100.200/32"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules, as the settings have them."""

    allow: tuple[Network, ...] = ()
    """Networks that may be registered although they are special."""
    deny: tuple[Network, ...] = ()
    """Networks that must not be registered, in addition to special ones."""
    sockets: tuple[str, ...] = ()
    """Folders in which Unix sockets may be registered."""
    most_instances: int = 1000
    """Registered instances of one service."""
    most_services: int = 5000
    """Number of services from which on a registration creates none."""

    def check(
        self, instance: Instance, service: Service | None, caller: Caller, snapshot: Snapshot | None
    ) -> None:
        """Raises InvalidConfig for an address that is refused, Refused when there is no room."""
        if caller.role is not Role.SERVICE:
            return
        if reason := self.complaint(instance.host):
            raise InvalidConfig([Problem("instance.host", reason)])
        if snapshot is not None:
            self._check_room(instance, service, snapshot)

    def complaint(self, host: str) -> str | None:
        """The reason a host is refused; None when it is not."""
        if is_socket(host):
            return self._socket_complaint(host)
        address = _address(host)
        if address is None:
            return self._name_complaint(host.lower())
        if any(address in network for network in self.deny):
            return f"{host} is in a network that must not be registered (REGISTER_DENY)"
        what = _special(address)
        if what is None or any(address in network for network in self.allow):
            return None
        return f"{host} is {what}. {_ELSEWHERE}"

    def _socket_complaint(self, host: str) -> str | None:
        path = PurePosixPath(host.removeprefix(UNIX))
        if any(path.is_relative_to(folder) for folder in self.sockets):
            return None
        return (
            f"{host} is a Unix socket of the data plane's node, in a folder that must not be registered; if that is "
            "meant, add the folder to UNIX_SOCKETS of the control planes"
        )

    def _name_complaint(self, name: str) -> str | None:
        if _NUMBER.fullmatch(name):
            return f"{name!r} is neither an IP address nor a host name"
        loopback = ip_address("127.0.0.1")
        if _LOOPBACK_NAME.fullmatch(name) and not any(loopback in network for network in self.allow):
            return f"{name!r} is a loopback name. {_ELSEWHERE}"
        return None

    def _check_room(self, instance: Instance, service: Service | None, snapshot: Snapshot) -> None:
        resources, name = snapshot.resources, instance.service_name
        if ("instance", instance.name) in resources:
            return
        if ("service", name) in resources:
            if len(snapshot.instances_of.get(name, ())) >= self.most_instances:
                most = f"REGISTER_MOST_INSTANCES: {self.most_instances}"
                detail = f"service '{name}' is at its limit of instances ({most})"
                raise Refused(Code.RESOURCE_EXHAUSTED, detail)
        elif service is not None and len(snapshot.instances_of) >= self.most_services:
            are = "is" if self.most_services == 1 else "are"
            detail = f"there {are} {count(self.most_services, 'service')} (REGISTER_MOST_SERVICES)"
            raise Refused(Code.RESOURCE_EXHAUSTED, f"{detail}: an administrator must create this one")


def _address(host: str) -> Address | None:
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found.sixtofour or found if isinstance(found, IPv6Address) else found


def _special(address: Address) -> str | None:
    if any(address in network for network in _METADATA):
        return "an address of a cloud's metadata service, which answers with credentials"
    for is_so, what in (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_reserved, "a reserved address"),
    ):
        if is_so:
            return what
    return (
        "an address of this host"
        if isinstance(address, IPv4Address) and address in ip_network("0.0.0.0/8")
        else None
    )
