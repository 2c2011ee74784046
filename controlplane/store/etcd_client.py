"""Calls to an etcd cluster: every one with a deadline, over the members in turn, with a token that is renewed.

Only reads and repeatable writes go to the next member when an answer is missing. A transaction does so only while it is
certain that nothing was carried out: otherwise its outcome is unknown, and the error says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from controlplane.store.errors import AccessDenied, StoreError, StoreFull, StoreUnavailable
from controlplane.store.etcd_credentials import CredentialFiles
from controlplane.store.etcd_endpoint import Endpoint, Metadata
from controlplane.store.etcd_errors import AuthenticationOff, TokenRefused
from controlplane.store.etcd_lease_calls import GrpcCall, HandCall, LeaseCall, Unexplained
from controlplane.store.etcd_settings import EtcdSettings
from controlplane.store.etcd_tokens import TokenCache
from controlplane.store.etcd_watch import WatchStream
from controlplane.store.etcd_wire import (
    AUTHENTICATE,
    LEASE_KEEP_ALIVE,
    STATUS,
    WATCH,
    Method,
    Request,
    Response,
)
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb

T = TypeVar("T")

LOOKING = 4
"""The part of the time-out for finding the leader."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Options of a call: its deadline (monotonic), whether it may be carried out twice, and its lease."""

    deadline: float
    repeatable: bool = True
    lease: int = 0

    @property
    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream of lease renewals, with the endpoint it goes to and the token it was opened with."""

    call: LeaseCall
    address: str
    token: str


class EtcdClient:
    """A thin client. Raises ValueError at once for invalid certificates."""

    def __init__(self, settings: EtcdSettings) -> None:
        credentials = CredentialFiles(settings)
        self.timeout = settings.timeout
        self.closed = False
        self._endpoints = [Endpoint(address, credentials) for address in settings.addresses]
        self._preferred = 0
        self._tokens = TokenCache(settings.username, settings.password, self._authenticate)

    async def call(
        self, method: Method[Request, Response], request: Request, *, repeatable: bool = True, lease: int = 0
    ) -> Response:
        """One request, one answer, within the time-out over all endpoints. Raises store errors."""
        terms = Terms(time.monotonic() + self.timeout, repeatable, lease)

        async def ask(token: str) -> Response:
            return await self._in_turn(method, request, _metadata(token), terms)

        return await self._authorised(ask, TokenRefused, terms)

    async def watch(self, prefix: str, after: int) -> WatchStream:
        """A watch on the preferred endpoint, accepted by etcd; the caller closes it."""
        terms = Terms(time.monotonic() + self.timeout)

        async def ask(token: str) -> WatchStream:
            return await self._open_watch(prefix, after, _metadata(token), terms)

        # etcd 3.5 refuses an expired token and a missing permission alike, so any refusal is tried once more.
        return await self._authorised(ask, AccessDenied, terms)

    async def open_leases(self, by_hand: bool) -> Opened:
        """A stream of lease renewals to the leader, or to the preferred endpoint if none is found.

        The caller cancels it. etcd checks the token when it reads the first message: see `refuse`. `by_hand`: see
        `etcd_lease_calls`. Raises StoreUnavailable, AccessDenied.
        """
        terms = Terms(time.monotonic() + self.timeout)
        token = await self._token(terms)
        leader = await self.leader(token)
        endpoint, share = next(self._turns(terms))
        endpoint = next((one for one in self._endpoints if one.address == leader), endpoint)
        try:
            await endpoint.settle(share.left)
            call = await self._lease_call(endpoint, token, share.left, by_hand)
        except Unexplained:
            raise
        except StoreUnavailable:
            self.avoid(endpoint.address)
            raise
        return Opened(call, endpoint.address, token)

    @staticmethod
    async def _lease_call(endpoint: Endpoint, token: str, within: float, by_hand: bool) -> LeaseCall:
        if not by_hand:
            return GrpcCall(endpoint.open(LEASE_KEEP_ALIVE, _metadata(token)), endpoint.address)
        # Only gRPC can say why this fails.
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(within / 2):
                return await HandCall.connect(endpoint.address, endpoint.tls, _metadata(token))
        raise Unexplained(f"{endpoint.address}: no connection for lease renewals")

    async def leader(self, token: str) -> str | None:
        """Address of the endpoint that leads, the preferred one asked first; None when no member answers soon."""
        if self.members == 1:
            return self._endpoints[0].address
        within = self.timeout / LOOKING / self.members
        for endpoint, _ in self._turns(Terms(time.monotonic())):
            with contextlib.suppress(StoreError):
                await endpoint.settle(within)
                found = await endpoint.ask(STATUS, pb.StatusRequest(), _metadata(token), within)
                if found.leader == found.header.member_id:
                    return endpoint.address
        return None

    def refuse(self, token: str) -> bool:
        """etcd did not take this token: the next stream gets another one. Whether there is one to get."""
        self._tokens.refuse(token)
        return self._tokens.renewable

    @property
    def members(self) -> int:
        """How many endpoints there are."""
        return len(self._endpoints)

    @property
    def addresses(self) -> list[str]:
        return [endpoint.address for endpoint in self._endpoints]

    def avoid(self, address: str) -> None:
        """Prefer the endpoint after this one, unless another one is preferred already."""
        if self._endpoints[self._preferred].address == address:
            self._preferred = (self._preferred + 1) % len(self._endpoints)

    async def close(self) -> None:
        """Close all connections; calls under way and later ones are StoreUnavailable."""
        self.closed = True
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _authorised(
        self, ask: Callable[[str], Awaitable[T]], refusal: type[AccessDenied], terms: Terms
    ) -> T:
        token = await self._token(terms)
        try:
            return await ask(token)
        except refusal:
            if not self._tokens.renewable:
                raise
            self._tokens.refuse(token)
        return await ask(await self._token(terms))

    async def _token(self, terms: Terms) -> str:
        if self.closed:
            raise StoreUnavailable("the store is closed")
        try:
            async with asyncio.timeout(terms.left):
                return await self._tokens.current(terms.deadline)
        except TimeoutError:
            raise StoreUnavailable("etcd did not answer the authentication in time") from None

    async def _authenticate(self, username: str, password: str, deadline: float) -> str:
        request = pb.AuthenticateRequest(name=username, password=password)
        try:
            return (await self._in_turn(AUTHENTICATE, request, _metadata(""), Terms(deadline))).token
        except AuthenticationOff:
            return ""

    async def _in_turn(
        self, method: Method[Request, Response], request: Request, metadata: Metadata, terms: Terms
    ) -> Response:
        failures = []
        for endpoint, share in self._turns(terms):
            try:
                await endpoint.settle(share.left)
                within = share.left if terms.repeatable else terms.left
                return await endpoint.ask(method, request, metadata, within, terms.lease)
            except StoreFull:
                # An alarm of the whole cluster: the other members report it, too.
                raise
            except StoreUnavailable as error:
                self.avoid(endpoint.address)
                failures.append(error.detail)
                if error.unknown_outcome and not terms.repeatable:
                    detail = f"{error.detail}; whether the change was made is unknown"
                    raise StoreUnavailable(detail, unknown_outcome=True) from error
        raise StoreUnavailable("; ".join(failures))

    def _turns(self, terms: Terms) -> Iterator[tuple[Endpoint, Terms]]:
        """Every endpoint once, the preferred one first, each with its share of the time that is left."""
        first, count = self._preferred, len(self._endpoints)
        for turn in range(count):
            share = Terms(time.monotonic() + terms.left / (count - turn))
            yield self._endpoints[(first + turn) % count], share

    async def _open_watch(self, prefix: str, after: int, metadata: Metadata, terms: Terms) -> WatchStream:
        endpoint, share = next(self._turns(terms))
        try:
            await endpoint.settle(share.left)
            stream = WatchStream(endpoint.open(WATCH, metadata), endpoint.address, self.timeout)
            try:
                await stream.create(prefix, after)
            except BaseException:
                await stream.close()
                raise
        except StoreUnavailable:
            self.avoid(endpoint.address)
            raise
        return stream


def _metadata(token: str) -> Metadata:
    # A member that lost its cluster refuses at once instead of keeping us waiting or serving a stale watch.
    leader = ("hasleader", "true")
    return (leader, ("token", token)) if token else (leader,)
