"""Addresses of the servers, as reported by Sentinels or by the nodes of a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from dataplane.redis.acl import denied, refused
from dataplane.redis.connection import RedisError, auth, connect
from dataplane.redis.options import Address, RedisOptions

SLOTS: Final = 16_384
"""Of a Cluster's key space."""
ASK_TIMEOUT: Final = 0.5
"""Seconds that each server has to answer."""


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots of one server, including both ends."""

    first: int
    last: int
    server: Address


async def find_by_sentinel(options: RedisOptions) -> Address:
    """The server that the Sentinels name; the first answer is used. Raises RedisError."""
    refusal: RedisError | None = None
    question = (b"SENTINEL", b"get-master-addr-by-name", options.sentinel.encode())
    asked = replace(options, user="", password=options.sentinel_password)
    for sentinel in options.servers:
        reply = await _ask(sentinel, asked, question)
        if isinstance(reply, list) and len(reply) == 2:
            host, port = reply
            return _text(host), int(port)
        if isinstance(reply, RedisError):
            refusal = reply
    raise refusal or RedisError(f"no Sentinel answers with a server for {options.sentinel!r}")


async def find_slots(options: RedisOptions, known: Iterable[Address]) -> list[SlotRange]:
    """The nodes of all slots, as reported by the first node that answers. Raises RedisError."""
    refusal: RedisError | None = None
    for server in dict.fromkeys((*known, *options.servers)):
        reply = await _ask(server, options, (b"CLUSTER", b"SLOTS"))
        if isinstance(reply, list) and reply:
            return list(_ranges(reply, server[0]))
        if isinstance(reply, RedisError):
            refusal = reply
    raise refusal or RedisError("no node of the Cluster answers")


def read_move(error: str) -> tuple[int, Address]:
    """The slot and the server that MOVED or ASK names. Raises ValueError."""
    _, slot, address = error.split(" ")[:3]
    host, _, port = address.rpartition(":")
    return int(slot), (host, int(port))


async def _ask(server: Address, options: RedisOptions, question: tuple[bytes, ...]) -> object:
    """The reply, by a connection of its own, or that the question or our credentials are refused; None if there is none
    in time."""
    connection = None
    try:
        async with asyncio.timeout(ASK_TIMEOUT):
            connection = await connect(server, options)
            commands = [auth(options.user, options.password)] if options.user or options.password else []
            return (await connection.replies(*commands, question))[-1]
    except RedisError as error:
        return error if refused(str(error)) or denied(str(error)) else None
    except OSError:
        return None
    finally:
        if connection is not None:
            connection.abort("")


def _ranges(reply: list[Any], asked: str) -> Iterator[SlotRange]:
    """An empty host means the node that was asked: it does not know its public address, or is configured not to state
    it."""
    for first, last, master, *_ in reply:
        host, port = master[:2]
        yield SlotRange(int(first), int(last), (_text(host) if host else asked, int(port)))


def _text(word: bytes) -> str:
    return word.decode("ascii", "replace")
