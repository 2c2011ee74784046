"""A DNS server on loopback, over UDP: answers from records that a test sets, counts questions, and can fall silent."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """Listens within the block; `records` are lines of a zone by name and type."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        """By name and type: TTL, and the data of each record."""
        self.silent = False
        """Whether questions are not answered."""
        self.code = dns.rcode.NOERROR
        """If another one, the answer to every question."""
        self.questions: Counter[tuple[str, str]] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def set(self, name: str, kind: str, *data: str, ttl: int = 0) -> None:
        """Set the records of a name; without data the name exists and has none of this type."""
        self.records[name, kind] = ttl, list(data)

    @property
    def address(self) -> str:
        """host:port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A question."""
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.questions[name, kind] += 1
        if self.silent or self._transport is None:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if self.code != dns.rcode.NOERROR:
            response.set_rcode(self.code)
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            ttl, found = self.records.get((name, kind), (0, []))
            if found:
                response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *found))
        self._transport.sendto(response.to_wire(), addr)
