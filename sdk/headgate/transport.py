"""Calls to a control plane that answers: one channel for each address, with a change to the next one after a failure.

Every call of the registry may be repeated safely, so a call that fails at one control plane is repeated at the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from headgate.errors import (
    DuplicateInstance,
    Forbidden,
    HeadgateError,
    InvalidDefinition,
    Unauthenticated,
    Unavailable,
)
from headgate.keep_alives import KeepAlives, LeaseEnded, Metadata, State, Unsupported
from headgate.links import Links
from headgate.target import Target
from headgate_api.v1 import registry_pb2

if TYPE_CHECKING:
    from headgate_api.v1.registry_pb2_grpc import RegistryServiceAsyncStub

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

CALL_TIMEOUT = 5.0
"""Seconds to wait for an answer of one control plane."""
RENEWED_WITHIN = 30.0
"""Seconds within which a stream without messages is opened anew for a renewed credential."""

_CONNECT_PREAMBLE = re.compile(
    r"^.*(?:remote host|last error): (?:connect: |UNKNOWN: |UNAVAILABLE: |ipv[46]:\S+: )*"
)
_ERRNO = re.compile(r" \(\d+\)$")


class NotFound(HeadgateError):
    """The requested object does not exist; the caller knows which one."""


class _Renewed(Exception):
    """There is another credential than that of the stream."""


class Transport:
    """The registry of a fleet of control planes."""

    def __init__(self, target: Target) -> None:
        """Nothing is connected before the first call. Raises HeadgateError for unreadable certificates."""
        self.target = target
        self._links = Links(target)
        self._current = 0
        self._keep_alives = KeepAlives(
            self._links, self._metadata, self._translate, self._peer, patience=CALL_TIMEOUT
        )

    async def renew(self, holding: registry_pb2.Holding, ttl: float) -> State:
        """Renew a lease of `ttl` seconds, together with others that are due: its ttl, and whether the instance is
        removed or draining.

        Tries one control plane after the other. Raises NotFound if the lease has ended, Unavailable after the last one.
        """
        failures: list[Unavailable] = []
        for at in self._from_current():
            try:
                answer = await self._renew(at, holding, ttl)
            except LeaseEnded:
                self._current = at
                raise NotFound("the lease has ended") from None
            except Unavailable as error:
                failures.append(error)
            else:
                self._current = at
                return answer
        raise Unavailable("; ".join(str(failure) for failure in failures))

    async def release(self, lease: int) -> None:
        """Stop renewing a lease."""
        await self._keep_alives.release(lease)

    async def _renew(self, at: int, holding: registry_pb2.Holding, ttl: float) -> State:
        try:
            return await self._keep_alives.renew(at, holding, ttl)
        except Unsupported:
            request = registry_pb2.KeepAliveRequest(
                lease_id=holding.lease_id,
                service_name=holding.service_name,
                instance_id=holding.instance_id,
            )
        try:
            async with self._links.use(at) as stub:
                answer = await stub.KeepAlive(request, timeout=CALL_TIMEOUT, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise LeaseEnded from None
            raise self._translate(error, at) from error
        return answer.ttl, answer.removed, answer.draining

    async def call(
        self,
        method: Callable[[RegistryServiceAsyncStub], grpc.aio.UnaryUnaryMultiCallable[Asked, Answered]],
        request: Asked,
        *,
        timeout: float = CALL_TIMEOUT,
    ) -> Answered:
        """Try one control plane after the other until one answers. Raises HeadgateError, Unavailable after the last
        one.

        Each has `timeout` seconds.
        """
        failures: list[Unavailable] = []
        for at in self._from_current():
            try:
                async with self._links.use(at) as stub:
                    answer = await method(stub)(request, timeout=timeout, metadata=self._metadata())
            except grpc.aio.AioRpcError as error:
                translated = self._translate(error, at)
                if not isinstance(translated, Unavailable):
                    raise translated from error
                failures.append(translated)
            else:
                self._current = at
                return answer
        raise Unavailable("; ".join(str(failure) for failure in failures))

    async def watch(self, first_within: float) -> AsyncGenerator[registry_pb2.WatchResponse, None]:
        """One stream of one control plane until it breaks: ends in a HeadgateError, with the next address chosen.

        Raises Unavailable when the first message takes longer than `first_within` seconds.
        """
        at = self._current
        try:
            while True:
                try:
                    async with (
                        self._links.use(at) as stub,
                        contextlib.aclosing(self._messages(stub, at, first_within)) as messages,
                    ):
                        async for message in messages:
                            yield message
                except _Renewed:
                    continue
                raise Unavailable(f"the control plane at {self.target.addresses[at]} ended the watch")
        except grpc.aio.AioRpcError as error:
            raise self._translate(error, at) from error
        finally:
            if self._current == at:
                self._current = (at + 1) % len(self._links)

    async def _messages(
        self, stub: RegistryServiceAsyncStub, at: int, first_within: float
    ) -> AsyncGenerator[registry_pb2.WatchResponse, None]:
        request = registry_pb2.WatchRequest(changes=True, without_services=True, without_routes=True)
        metadata = self._metadata()
        call = stub.Watch(request, metadata=metadata)
        try:
            messages = aiter(call)
            async with asyncio.timeout(first_within):
                first = await anext(messages, None)
            if first is not None:
                yield first
                async with contextlib.aclosing(self._while_valid(messages, metadata)) as following:
                    async for message in following:
                        yield message
        except TimeoutError as error:
            raise Unavailable(
                f"the control plane at {self.target.addresses[at]} does not answer: timed out"
            ) from error
        finally:
            call.cancel()

    async def _while_valid(
        self, messages: AsyncIterator[registry_pb2.WatchResponse], metadata: Metadata
    ) -> AsyncGenerator[registry_pb2.WatchResponse, None]:
        """The messages of a stream, which keeps the credential that it was opened with.

        Raises _Renewed some seconds after there is another credential.
        """
        now = asyncio.get_running_loop().time
        due = now() + RENEWED_WITHIN
        waiting = asyncio.ensure_future(anext(messages, None))
        try:
            while True:
                await asyncio.wait({waiting}, timeout=max(0.0, due - now()))
                # The timer of an event loop may end a moment early.
                if now() >= due or not waiting.done():
                    due = now() + RENEWED_WITHIN
                    if self._renewed(metadata):
                        raise _Renewed
                elif (message := await waiting) is not None:
                    yield message
                    waiting = asyncio.ensure_future(anext(messages, None))
                else:
                    return
        finally:
            waiting.cancel()

    def _renewed(self, metadata: Metadata) -> bool:
        try:
            return self._metadata() != metadata
        except HeadgateError:
            return False  # the stream's is still the last one

    async def close(self) -> None:
        """Close every channel; calls under way are cancelled."""
        await self._keep_alives.close()
        await self._links.close()

    def _metadata(self) -> Metadata:
        bearer = self.target.bearer
        return (("authorization", f"Bearer {bearer}"),) if bearer else ()

    def _peer(self, at: int) -> str:
        return f"the control plane at {self.target.addresses[at]}"

    def _from_current(self) -> list[int]:
        count = len(self._links)
        return [(self._current + step) % count for step in range(count)]

    def _translate(self, error: grpc.aio.AioRpcError, at: int) -> HeadgateError:
        """The only place where a gRPC status becomes an error of this package."""
        details = error.details() or ""
        peer = self._peer(at)
        match error.code():
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.ABORTED | grpc.StatusCode.CANCELLED:
                return Unavailable(f"{peer} does not answer: {_plain(details)}")
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return Unavailable(f"{peer} is overloaded: {details}")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return Unavailable(f"{peer} does not answer: timed out")
            case grpc.StatusCode.UNAUTHENTICATED:
                return Unauthenticated(f"{peer} {_refusal(self.target, details)}")
            case grpc.StatusCode.PERMISSION_DENIED:
                return Forbidden(details or "Not enough permissions")
            case grpc.StatusCode.INVALID_ARGUMENT:
                return InvalidDefinition(line for line in details.splitlines() if line.strip())
            case grpc.StatusCode.NOT_FOUND:
                return NotFound(details)
            case grpc.StatusCode.ALREADY_EXISTS:
                return DuplicateInstance(details)
            case code:
                return HeadgateError(f"{peer} answered {code.name}: {details}")


_ANY_REASON = "Could not validate credentials"
"""The control plane's answer if it does not say what is wrong."""


def _refusal(target: Target, details: str) -> str:
    if target.token and details not in ("", _ANY_REASON):
        return f"refuses the token: {details}"
    if target.token:
        return (
            "refuses the token: it has ended, or is another gateway's (`headgate token service NAME` makes one; "
            "the demo makes a new one at each start: service_token in .headgate/demo.json)"
        )
    if target.cert:
        return "finds neither a token nor the name of a service in the certificate"
    return (
        "wants a token: set HEADGATE_TOKEN (`headgate token service NAME` makes one; "
        "the demo's is service_token in .headgate/demo.json)"
    )


def _plain(details: str) -> str:
    """Extract the cause from gRPC's long message of a failed connection attempt."""
    if "parsing HTTP/2" in details or "http1.x" in details:
        return "it does not speak gRPC there; the port is that of GRPC_LISTEN, 50051 by default"
    cause, shortened = _CONNECT_PREAMBLE.subn("", details)
    cause = _ERRNO.sub("", cause)
    return cause[:1].lower() + cause[1:] if shortened else details or "no reason given"
