"""Listeners and certificates from the store of the control plane into the table of the data plane."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from controlplane.identity import Sealer
from controlplane.model.certificate import Certificate, with_key
from controlplane.model.resources import Listener, Resource, Route, Service, parse
from controlplane.rpc import TlsFiles
from dataplane.config.apply import Assembly
from dataplane.config.decode import NOTHING, difference, read_part, unpack
from dataplane.config.stream.wire import CAPABILITIES
from dataplane.config.table import Table
from headgate_api.v1 import config_pb2
from tests.support.certificates import Authority
from tests.support.control_plane import ControlPlane, Node
from tests.support.waiting import eventually

SEALER = Sealer("s" * 32)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def certificate(files: tuple[Path, Path]) -> Certificate:
    """As it is stored."""
    pem, key = (file.read_text() for file in files)
    made = parse("certificate", {"name": "shop", "certificate": pem, "private_key": key})
    assert isinstance(made, Certificate)
    return with_key(made, SEALER.seal(key))


def everything(authority: Authority) -> tuple[Resource, ...]:
    web = Listener(
        name="web",
        port=8443,
        protocol="https",
        hostnames=("a.org", "*.b.org"),
        certificates=("shop",),
        tls_min="1.3",
        client_certificate="required",
        client_ca=authority.certificate.read_text(),
        proxy_protocol_from=("10.0.0.0/8",),
    )
    route = Route(name="r", prefix="/", service_name="s", listeners=("web", "default"))
    return Service(service_name="s"), certificate(authority.issue("one")), web, route


def table(snapshot: config_pb2.Snapshot) -> Table:
    """The table of the supervisor, which checks it."""
    bundle, assembly = unpack(snapshot), Assembly(max_routes=10)
    for part in difference(NOTHING, bundle):
        assembly.take(read_part(part))
    return assembly.complete(bundle.revision, bundle.digest)


async def test_everything_arrives_over_tls(authority: Authority) -> None:
    server = TlsFiles(*authority.issue("server"))
    trusted = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    resources = everything(authority)
    async with ControlPlane(tls=server, unseal=SEALER.opened) as plane, plane.channel(trusted) as channel:
        await plane.put(*resources)
        node = Node(channel)
        # The first message is then the snapshot.
        await node.hello(capabilities={*CAPABILITIES} - {"reports.changes", "messages.parts"})
        found = table(await node.receive())
        node.call.cancel()
    web = found.listeners["web"]
    assert (web.port, web.protocol, web.hostnames, web.proxies) == (
        8443,
        "https",
        ("a.org", "*.b.org"),
        ("10.0.0.0/8",),
    )
    tls = found.tls[8443]
    assert (tls.options.minimum, tls.options.maximum, tls.options.client_required) == ("1.3", "1.3", True)
    assert found.certificates["shop"].served.chain.key == (authority._folder / "one.key").read_bytes()
    assert found.routes["r"].listeners == ("web", "default")


@pytest.mark.parametrize("named", [CAPABILITIES, ()], ids=["a data plane of today", "an older one"])
async def test_no_key_crosses_the_network_in_plain_text(authority: Authority, named: tuple[str, ...]) -> None:
    async with ControlPlane(unseal=SEALER.opened) as plane, plane.channel() as channel:
        await plane.put(*everything(authority))
        node = Node(channel)
        await node.hello(capabilities=named)
        await eventually(lambda: plane.hub.messages.withheld)
        (shown,) = plane.fleet.nodes.values()
        assert shown.last_rejection is not None and shown.last_rejection.withheld
        details = " ".join(problem.detail for problem in shown.last_rejection.problems)
        assert "private keys are sent over encrypted streams only" in details
        node.call.cancel()
