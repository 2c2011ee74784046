"""Asks data planes that are connected to another control plane: a stream for each question, over `PeerService.Ask`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from hmac import compare_digest
from typing import Any

import grpc
import grpc.aio

from controlplane.fleet.members import Member
from controlplane.fleet.questions import Unanswered
from controlplane.identity import PeerSecret
from controlplane.rpc.peer_link import CONNECT_WITHIN, LinkTls, channel_to
from controlplane.rpc.peer_stream import SCHEME
from headgate_api.v1 import peers_pb2, questions_pb2
from headgate_api.v1.peers_pb2_grpc import PeerServiceStub


class QuestionLinks:
    """Implements `rpc.questions.Link` for the control plane of this name. `member` finds the address of another one."""

    def __init__(
        self,
        secret: PeerSecret,
        name: str,
        member: Callable[[str], Member | None],
        tls: LinkTls | None = None,
    ) -> None:
        self._secret = secret
        self._name = name
        self._member = member
        self._tls = tls or LinkTls()

    async def ask(
        self, controlplane: str, node: str, question: questions_pb2.Question
    ) -> AsyncGenerator[questions_pb2.Answer, None]:
        """See `rpc.questions.Link`."""
        member = self._member(controlplane)
        if member is None:
            raise Unanswered(
                f"Data plane {node} is connected to control plane {controlplane}, which cannot be reached from here"
            )
        try:
            async with channel_to(member, self._tls) as channel:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await channel.channel_ready()
                async for answer in self._exchange(channel, controlplane, node, question):
                    yield answer
        except (TimeoutError, OSError, grpc.aio.AioRpcError) as error:
            reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error) or "no answer"
            raise Unanswered(
                f"Data plane {node} is connected to control plane {controlplane}, which was asked in vain: {reason}"
            ) from None

    async def _exchange(
        self, channel: grpc.aio.Channel, name: str, node: str, question: questions_pb2.Question
    ) -> AsyncGenerator[questions_pb2.Answer, None]:
        nonce = secrets.token_bytes(32)
        credential = self._secret.credential(self._name, name, time.time())
        stub: Any = PeerServiceStub(channel)
        call = stub.Ask(metadata=(("authorization", f"{SCHEME} {credential}"),))
        try:
            await call.write(peers_pb2.AskRequest(nonce=nonce))
            first = await call.read()
            proof = first.proof if isinstance(first, peers_pb2.AskResponse) else b""
            if not compare_digest(proof, self._secret.proof(name, nonce)):
                raise OSError("it has another SECRET_KEY, or is another control plane")
            await call.write(peers_pb2.AskRequest(node=node, question=question))
            while isinstance(response := await call.read(), peers_pb2.AskResponse):
                yield response.answer
                if response.answer.last:
                    return
            raise OSError("it ended the stream")
        finally:
            call.cancel()
