"""Sends the state of this control plane's data planes to the others: one stream for each follower."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress

from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import UpdateSender
from controlplane.fleet.questions import Unanswered
from controlplane.identity import InvalidToken, PeerSecret, RefusedCalls
from controlplane.rpc.errors import Code, Context, Refused, rescued, unauthenticated
from controlplane.rpc.limit_routes import LimitRoutes
from controlplane.rpc.questions import Questions
from controlplane.rpc.wire import peer_messages, question_messages
from headgate_api.v1 import peers_pb2 as pb

SERVICE = "headgate.v1.PeerService"
SCHEME = "Peer"

SOON, ALIVE = 0.2, 3.0
"""Seconds between two updates: after a change that a wait may depend on, and otherwise, as a heartbeat with counters
and times."""
MOST_FOLLOWERS = 64
LONGEST_NONCE = 64

logger = logging.getLogger(__name__)


class PeerStream:
    """Serves PeerService as the control plane of this name."""

    def __init__(
        self,
        fleet: Fleet,
        secret: PeerSecret,
        name: str,
        refused: RefusedCalls,
        *,
        soon: float = SOON,
        alive: float = ALIVE,
        limits: LimitRoutes | None = None,
        questions: Questions | None = None,
    ) -> None:
        """`limits` answers asks about limits that this control plane owns; `questions` asks its data planes."""
        self._limits = limits
        self._questions = questions
        self._refused = refused
        self._fleet = fleet
        self._secret = secret
        self._name = name
        self._soon, self._alive = soon, alive
        self._followers = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream."""
        self._stopping.set()
        self._fleet.signals.moved.notify()

    async def Follow(self, request: pb.FollowRequest, context: Context) -> None:  # named by the wire
        """One follower, until either side ends the stream."""
        async with rescued(context, "peers", self._refused):
            follower = self._identify(context)
            if request.name != follower or not 0 < len(request.nonce) <= LONGEST_NONCE:
                raise Refused(Code.INVALID_ARGUMENT, "name must be the caller's name, and nonce must be set")
            proof = self._secret.proof(self._name, request.nonce)
            with self._place(), closing(UpdateSender(self._fleet.verdicts, self._fleet.circuits)) as sender:
                logger.info("followed by another control plane", extra={"controlplane": follower})
                await self._tell(sender, proof, context)

    async def Lend(
        self, requests: AsyncIterator[pb.LendRequest], context: Context
    ) -> None:  # named by the wire
        """One control plane that forwards the asks of its data planes, until either side ends the stream."""
        async with rescued(context, "peers", self._refused):
            self._identify(context)
            if self._limits is None:
                raise Refused(Code.UNIMPLEMENTED, "this control plane owns no limits")
            first = await anext(requests, None)
            if first is None or not 0 < len(first.nonce) <= LONGEST_NONCE:
                raise Refused(Code.INVALID_ARGUMENT, "the first message must have a nonce")
            with self._place():
                await context.write(pb.LendResponse(proof=self._secret.proof(self._name, first.nonce)))
                async for request in requests:
                    if self._stopping.is_set():
                        return
                    answers = self._limits.answer(request.asks)
                    if answers.answers:
                        await context.write(pb.LendResponse(answers=answers))

    async def Ask(
        self, requests: AsyncIterator[pb.AskRequest], context: Context
    ) -> None:  # named by the wire
        """One question of another control plane to a data plane that is connected here."""
        async with rescued(context, "peers", self._refused):
            self._identify(context)
            if self._questions is None:
                raise Refused(Code.UNIMPLEMENTED, "this control plane passes on no questions")
            first = await anext(requests, None)
            if first is None or not 0 < len(first.nonce) <= LONGEST_NONCE:
                raise Refused(Code.INVALID_ARGUMENT, "the first message must have a nonce")
            with self._place():
                await context.write(pb.AskResponse(proof=self._secret.proof(self._name, first.nonce)))
                asked = await anext(requests, None)
                if asked is None or not asked.HasField("question"):
                    raise Refused(Code.INVALID_ARGUMENT, "the second message must have a question")
                await self._pass_on(self._questions, asked, context)

    async def _pass_on(self, questions: Questions, asked: pb.AskRequest, context: Context) -> None:
        try:
            async with aclosing(questions.ask_here(asked.node, asked.question)) as answers:
                async for answer in answers:
                    if self._stopping.is_set():
                        return
                    await context.write(pb.AskResponse(answer=answer))
        except Unanswered as error:
            answer = question_messages.problem(asked.question.id, str(error))
            await context.write(pb.AskResponse(answer=answer))

    def _identify(self, context: Context) -> str:
        sent = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        scheme, _, credential = str(sent[0]).partition(" ") if len(sent) == 1 else ("", "", "")
        if scheme != SCHEME:
            raise unauthenticated()
        try:
            return self._secret.check(credential, self._name, time.time())
        except InvalidToken:
            raise unauthenticated() from None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._followers >= MOST_FOLLOWERS:
            raise Refused(Code.RESOURCE_EXHAUSTED, f"{MOST_FOLLOWERS} control planes already follow this one")
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    async def _tell(self, sender: UpdateSender, proof: bytes, context: Context) -> None:
        wake = asyncio.Event()
        with self._fleet.signals.changed.wakes(wake), self._fleet.signals.moved.wakes(wake):
            while not self._stopping.is_set():
                told = self._told()
                for part in sender.updates(self._fleet.peer_state()):
                    for message in peer_messages.messages(part, proof):
                        await context.write(message)
                        # A write may return at once: give other tasks their turn.
                        await asyncio.sleep(0)
                    proof = b""
                await self._news(told, wake)

    async def _news(self, told: tuple[int, bool, bool], wake: asyncio.Event) -> None:
        """Return when there is something to send: soon for important changes, a little later for the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._alive):
                await asyncio.sleep(self._soon)
                while self._told() == told and not self._stopping.is_set():
                    wake.clear()
                    await wake.wait()

    def _told(self) -> tuple[int, bool, bool]:
        """Differs when there is something that a follower waits for."""
        return self._fleet.signals.news, self._fleet.looks, self._fleet.watches
