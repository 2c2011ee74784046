"""What a connection of TLS may cost, however its peer behaves."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.tls_downstream import TlsDownstream
from dataplane.proxy.tls_transport import RECORD
from dataplane.proxy.trust import Peer


class Renegotiating:
    """OpenSSL where everything that comes asks to renegotiate: each time it leaves a refusal to be sent."""

    def __init__(self) -> None:
        self.asked = 0

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, server_side: bool) -> Renegotiating:
        self._incoming, self._outgoing = incoming, outgoing
        return self

    def do_handshake(self) -> None:
        self._incoming.read()

    def version(self) -> str:
        return "TLSv1.2"

    def pending(self) -> int:
        return 0

    def read(self, size: int) -> bytes:
        self.asked += 1
        self._incoming.read()
        self._outgoing.write(b"no_renegotiation")
        raise ssl.SSLWantReadError


class Copying:
    """OpenSSL without the secrets; `most` is what its buffers held at most."""

    def __init__(self) -> None:
        self.most = 0

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, server_side: bool) -> Copying:
        self._incoming, self._outgoing = incoming, outgoing
        return self

    def do_handshake(self) -> None:
        pass

    def version(self) -> str:
        return "TLSv1.3"

    def pending(self) -> int:
        return 0

    def read(self, size: int) -> bytes:
        self.most = max(self.most, self._incoming.pending)
        return self._incoming.read(size)

    def write(self, data: bytes | memoryview) -> int:
        record = bytes(data[:RECORD])
        self._outgoing.write(record)
        self.most = max(self.most, self._outgoing.pending)
        return len(record)


class Above(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.got.append(data)


class Below(asyncio.Transport):
    """A transport whose peer takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.size += len(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def test_a_peer_that_renegotiates_again_and_again_is_left() -> None:
    """Each refusal is kept until the peer reads it, and this one never does."""
    tls, below, connections = Renegotiating(), Below(), Connections(Bounds())
    peer = Peer("192.0.2.1")
    secured = TlsDownstream(cast(ssl.SSLContext, tls), asyncio.Protocol(), peer, connections, 1.0, Entrance())
    assert connections.admit(peer)
    secured.connection_made(below)
    for _ in range(1_000):
        secured.data_received(b"again")
    assert below.aborted and tls.asked < 20 and below.size < 1_000


def test_much_passes_in_small_pieces() -> None:
    """OpenSSL's buffers keep the size that they once had, for as long as the connection is open."""
    tls, above, below = Copying(), Above(), Below()
    peer = Peer("192.0.2.1")
    secured = TlsDownstream(cast(ssl.SSLContext, tls), above, peer, Connections(Bounds()), 1.0, Entrance())
    secured.connection_made(below)
    secured.data_received(b"x" * 1_000_000)
    assert above.got == [b"x" * 1_000_000]
    secured.write(b"y" * 1_000_000)
    secured.writelines([b"z" * 500_000, b"z" * 500_000])
    assert below.size == 2_000_000 and tls.most <= RECORD
