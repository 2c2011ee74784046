"""The cluster's DNS: answers for Services from the API, by the rules of the Kubernetes DNS specification.

A and SRV records of Services with an address, of headless Services, and of pods with a host name in them. Names outside
the cluster do not exist. Services and EndpointSlices are watched: etcd alone asks for twenty names for every connection
that it accepts.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from demo.processes import start as start_process
from tests.support.kubernetes.api import connect
from tests.support.kubernetes.mirror import Mirror
from tests.support.kubernetes.network import DNS_PORT, NODE

DOMAIN = ("svc", "cluster", "local")
A, SRV = 1, 33
NO_SUCH_NAME = 3
SECONDS = 1
"""For which answers may be kept."""

Object = dict[str, Any]


class Api(Protocol):
    """What the DNS asks the API server."""

    def service(self, namespace: str, name: str) -> Object | None:
        """None if there is none."""

    def slices(self, namespace: str, name: str) -> Sequence[Object]:
        """The EndpointSlices of a Service."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record: its type, and its data."""

    kind: int
    data: bytes


def find(labels: Sequence[str], api: Api) -> list[Record] | None:
    """The records of a name, or None if it does not exist."""
    *front, name, namespace = labels[:-3] if len(labels) > 4 and tuple(labels[-3:]) == DOMAIN else ("", "")
    service = api.service(namespace, name) if name else None
    if service is None:
        return None
    endpoints = list(_endpoints(service, api.slices(namespace, name)))
    match front:
        case []:
            return [_address(address) for address in _addresses(service, endpoints)]
        case [host]:
            found = [_address(endpoint.address) for endpoint in endpoints if endpoint.host == host]
            return found or None
        case [port, protocol]:
            return _srv(port.removeprefix("_"), protocol.removeprefix("_"), labels[2:], service, endpoints)
    return None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a Service."""

    address: str
    host: str
    """Its label below the Service's name."""
    ports: Sequence[Object]


def _endpoints(service: Object, slices: Sequence[Object]) -> Iterator[Endpoint]:
    unready = service["spec"].get("publishNotReadyAddresses", False)
    for piece in slices:
        for endpoint in piece.get("endpoints") or ():
            if unready or endpoint.get("conditions", {}).get("ready", True):
                for address in endpoint["addresses"]:
                    host = endpoint.get("hostname") or address.replace(".", "-")
                    yield Endpoint(address, host, piece.get("ports") or ())


def _addresses(service: Object, endpoints: Sequence[Endpoint]) -> list[str]:
    address: str = service["spec"].get("clusterIP", "None")
    return [endpoint.address for endpoint in endpoints] if address == "None" else [address]


def _srv(
    port: str, protocol: str, parent: Sequence[str], service: Object, endpoints: Sequence[Endpoint]
) -> list[Record]:
    headless = service["spec"].get("clusterIP", "None") == "None"
    if not headless:
        return [
            _target(entry["port"], parent) for entry in service["spec"]["ports"] if _is(entry, port, protocol)
        ]
    return [
        _target(entry["port"], [endpoint.host, *parent])
        for endpoint in endpoints
        for entry in endpoint.ports
        if _is(entry, port, protocol)
    ]


def _is(entry: Object, port: str, protocol: str) -> bool:
    return entry.get("name") == port and entry.get("protocol", "TCP").lower() == protocol


def _address(address: str) -> Record:
    return Record(A, socket.inet_aton(address))


def _target(port: int, labels: Sequence[str]) -> Record:
    return Record(SRV, struct.pack("!HHH", 0, 100, port) + encode(labels))


def encode(labels: Sequence[str]) -> bytes:
    """A name on the wire."""
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def answer(query: bytes, api: Api) -> bytes:
    """The reply to a query of one question."""
    identifier, flags = struct.unpack_from("!HH", query)
    labels, end = _question(query)
    (kind,) = struct.unpack_from("!H", query, end)
    records = find([label.lower() for label in labels], api)
    code = NO_SUCH_NAME if records is None else 0
    chosen = [record for record in records or () if record.kind == kind]
    head = struct.pack("!HHHHHH", identifier, 0x8480 | flags & 0x0100 | code, 1, len(chosen), 0, 0)
    return head + query[12 : end + 4] + b"".join(map(_encoded, chosen))


def _question(query: bytes) -> tuple[list[str], int]:
    labels, position = [], 12
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return labels, position + 1


def _encoded(record: Record) -> bytes:
    # The name is that of the question, at byte 12.
    return struct.pack("!HHHIH", 0xC00C, record.kind, 1, SECONDS, len(record.data)) + record.data


class WatchedApi:
    """The API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        client = connect(kubeconfig)
        self._services = Mirror(client, "/api/v1/services")
        self._slices = Mirror(client, "/apis/discovery.k8s.io/v1/endpointslices")
        for mirror in (self._services, self._slices):
            mirror.start()

    def service(self, namespace: str, name: str) -> Object | None:
        return self._services.objects.get((namespace, name))

    def slices(self, namespace: str, name: str) -> Sequence[Object]:
        return [each for each in list(self._slices.objects.values()) if _is_of(each, namespace, name)]


def _is_of(piece: Object, namespace: str, service: str) -> bool:
    metadata: Object = piece["metadata"]
    of = metadata["namespace"], metadata.get("labels", {}).get("kubernetes.io/service-name")
    return of == (namespace, service)


class Server(socketserver.ThreadingUDPServer):
    """Answers every query in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        super().__init__(address, Handler)
        self.api = api


class Handler(socketserver.BaseRequestHandler):
    """One query. One without an answer is asked again by its client."""

    server: Server

    def handle(self) -> None:
        query, connection = self.request
        connection.sendto(answer(query, self.server.api), self.client_address)


def start(kubeconfig: Path, logs: Path) -> None:
    """Start it on the node's address, as a process."""
    start_process("dns", [sys.executable, "-m", __name__, str(kubeconfig)], {}, logs)


if __name__ == "__main__":
    with Server((NODE, DNS_PORT), WatchedApi(Path(sys.argv[1]))) as server:
        server.serve_forever()
