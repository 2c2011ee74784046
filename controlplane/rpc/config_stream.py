"""The config stream: messages to and from one data plane.

Each stream has a writer (the call itself) and a reader (a task). They share the session: the reader gives it the
answers, the writer asks it for the next message. A data plane that reads slowly holds up its own writer and nothing
else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import grpc
import grpc.aio

from controlplane.distribute.hub import Ending, Hub, Session
from controlplane.fleet.bounds import is_node
from controlplane.fleet.demand import Reporting
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import NodeProblem
from controlplane.fleet.verdicts import InstanceName
from controlplane.model.certificate import KEYS
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.resources import ResourceId
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.model.words import count
from controlplane.rpc.client_certificate import is_encrypted
from controlplane.rpc.credentials import RECHECK, Caller, Credentials
from controlplane.rpc.errors import Code, Context, Refused, rescued
from controlplane.rpc.limit_routes import LimitRoutes
from controlplane.rpc.own_reports import OwnReports
from controlplane.rpc.questions import ANSWERS_QUESTIONS, Questions
from controlplane.rpc.wire import encoder, report_messages
from controlplane.rpc.wire.encoder import Encoder, Unseal
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import limits_pb2, questions_pb2, status_pb2

logger = logging.getLogger(__name__)

SERVICE = "headgate.v1.ConfigService"

TAKES_PARTS = "messages.parts"
"""Capability of data planes that put together messages that come in parts."""

FOLLOWS = "reports.changes"
"""Capability of data planes that report as the control plane asks."""

MOST_WAITING = 64
"""Messages of answers about limits that wait for a data plane which does not read. Older ones would be too late."""

HELLO_WITHIN = 10.0
"""Seconds within which a data plane must send its hello."""

_ENDINGS = {
    Ending.STORE_LOST: Code.UNAVAILABLE,
    Ending.NO_FALLBACK: Code.UNAVAILABLE,
    Ending.SUPERSEDED: Code.ABORTED,
    Ending.STOPPING: Code.UNAVAILABLE,
}

Requests = AsyncIterator[pb.StreamRequest]
Capabilities = frozenset[str]
Answers = list[limits_pb2.LimitAnswers]
Asked = list[questions_pb2.Question]


class Outgoing:
    """Messages beside the configuration that wait for the stream: answers about limits, and questions."""

    def __init__(self, answers: Answers, asked: Asked) -> None:
        self._answers = answers
        self._asked = asked

    def __bool__(self) -> bool:
        return bool(self._answers or self._asked)

    def take(self) -> pb.StreamResponse:
        """The next message; there must be one."""
        if self._answers:
            return pb.StreamResponse(answers=_joined(self._answers))
        return pb.StreamResponse(question=self._asked.pop(0))


class ConfigStream:
    """Serves ConfigService to at most `most` data planes at once."""

    def __init__(
        self,
        hub: Hub,
        fleet: Fleet,
        credentials: Credentials,
        *,
        most: int = 2000,
        hello_within: float = HELLO_WITHIN,
        recheck: float = RECHECK,
        limits: LimitRoutes | None = None,
        questions: Questions | None = None,
        unseal: Unseal = str,
    ) -> None:
        """`recheck`: seconds from one look at a stream's credential to the next. `limits` takes asks about limits of
        the fleet; without it they are not answered. `questions` has those of operators."""
        self._limits = limits
        self._questions = questions
        self._recheck = recheck
        self._hub = hub
        self._fleet = fleet
        self._credentials = credentials
        self._most = most
        self._hello_within = hello_within
        self._open = 0
        self._encoder = Encoder(unseal, self._is_published)
        self._encoding = asyncio.Lock()
        """Held while the resources of a large message are encoded."""

    def _is_published(self, identity: ResourceId) -> bool:
        current = self._hub.watcher.current
        return current is not None and identity in current.resources

    def handler(self) -> Any:
        """A generic handler for the server.

        Responses are already bytes, so that each is encoded once and not once per stream.
        """
        stream: Any = grpc.stream_stream_rpc_method_handler(
            self.stream, request_deserializer=pb.StreamRequest.FromString, response_serializer=None
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Stream": stream})

    async def stream(self, requests: Requests, context: Context) -> None:
        """One data plane's stream, from hello until either side ends it."""
        async with rescued(context, "config", self._credentials.refused):
            caller = await self._credentials.require_dataplane(context)
            with self._place():
                requests = aiter(requests)
                hello = await self._hello(requests)
                node = self._credentials.known_as(caller, hello.node)
                capabilities = frozenset(hello.capabilities)
                if not is_encrypted(context):
                    # Private keys cross no network in plain text, whatever the data plane names.
                    capabilities -= {KEYS}
                with self._hub.session(
                    node,
                    hello.version[:64],
                    hello.revision,
                    hello.digest,
                    self._own(caller.pool).leaving(report_messages.leaving(hello.leaving)),
                    lineage=report_messages.lineage(hello.lineage),
                    refused=report_messages.mark(hello.refused),
                    deltas=hello.takes_deltas,
                    capabilities=capabilities,
                    pool=caller.pool,
                ) as session:
                    logger.info(
                        "data plane connected",
                        extra=_about(session) | {"revision": hello.revision, "pool": session.pool},
                    )
                    self._recall(session, hello.refused)
                    with (
                        self._fleet.signals.asks.wakes(session.wake),
                        self._answers(session) as answers,
                        self._asked(session, capabilities) as asked,
                    ):
                        outgoing = Outgoing(answers, asked)
                        await self._serve(session, requests, context, outgoing, capabilities=capabilities)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._open >= self._most:
            are = "is" if self._most == 1 else "are"
            detail = f"{count(self._most, 'data plane')} {are} already connected"
            raise Refused(Code.RESOURCE_EXHAUSTED, detail)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _hello(self, requests: Requests) -> pb.Hello:
        try:
            async with asyncio.timeout(self._hello_within):
                first = await anext(requests, None)
        except TimeoutError:
            first = None
        if first is None or not first.HasField("hello"):
            raise Refused(Code.FAILED_PRECONDITION, "the first message must be hello")
        if not is_node(first.hello.node):
            raise Refused(
                Code.INVALID_ARGUMENT, "hello.node: must have 1 to 128 printable characters and no spaces"
            )
        if len(first.hello.digest) > 64:
            raise Refused(Code.INVALID_ARGUMENT, "hello.digest: must have at most 64 characters")
        return first.hello

    def _recall(self, session: Session, refused: pb.Refused) -> None:
        """Show the configuration that the node refused on another stream, perhaps to another control plane."""
        if (mark := session.subscriber.nacked) is None:
            return
        known = self._fleet.nodes[session.node].last_rejection
        if known is None or (known.revision, known.digest) != (mark.revision, mark.digest):
            self._fleet.nack(session.node, mark.revision, report_messages.problems(refused), mark.digest)

    @contextmanager
    def _answers(self, session: Session) -> Iterator[Answers]:
        """A queue of answers about limits for the stream, within the block."""
        waiting: Answers = []

        def reply(answers: limits_pb2.LimitAnswers) -> None:
            waiting.append(answers)
            del waiting[:-MOST_WAITING]
            session.wake.set()

        with self._limits.replies(session.node, reply) if self._limits else nullcontext():
            yield waiting

    @contextmanager
    def _asked(self, session: Session, capabilities: Capabilities) -> Iterator[Asked]:
        """A queue of questions of operators for the stream, within the block."""
        waiting: Asked = []

        def send(question: questions_pb2.Question) -> None:
            waiting.append(question)
            session.wake.set()

        able = ANSWERS_QUESTIONS in capabilities
        with self._questions.port(session.node, send, able=able) if self._questions else nullcontext():
            yield waiting

    async def _serve(
        self,
        session: Session,
        requests: Requests,
        context: Context,
        outgoing: Outgoing,
        *,
        capabilities: Capabilities,
    ) -> None:
        reader = asyncio.create_task(self._read(session, requests), name=f"config stream of {session.node}")
        reader.add_done_callback(lambda _: session.wake.set())
        try:
            await self._write(session, reader, context, outgoing, capabilities=capabilities)
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                # Raises the reader's refusal, if there was one.
                await reader
            reason = session.ending.value if session.ending else "the stream ended"
            logger.info("data plane disconnected", extra=_about(session) | {"reason": reason})
        if session.ending is not None:
            raise Refused(_ENDINGS[session.ending], session.ending.value)

    async def _write(
        self,
        session: Session,
        reader: asyncio.Task[None],
        context: Context,
        outgoing: Outgoing,
        *,
        capabilities: Capabilities,
    ) -> None:
        checked, asked = time.monotonic(), None
        while True:
            # Cleared before the check: later changes set it again.
            session.wake.clear()
            self._hub.look_after(session)
            if reader.done() or session.ending is not None:
                # Only here, between two writes: a call that is ended while a write waits for a slow reader would
                # hang at the client for ever.
                return
            if time.monotonic() - checked >= self._recheck:
                self._check_pool(session, await self._credentials.require_dataplane(context))
                checked = time.monotonic()
            while outgoing:
                await context.write(outgoing.take().SerializeToString())
            if FOLLOWS in capabilities and asked != (asks := self._asks(session)):
                asked = asks
                await context.write(self._encoder.reporting(asks))
            if (message := session.next()) is None:
                await session.woken(self._recheck)
                continue
            await self._send(session, message, context, capabilities)

    def _check_pool(self, session: Session, caller: Caller) -> None:
        """A service account may have come to another pool: the next stream is one of that pool. And a pool may have
        been made whose data planes have names like this one."""
        if caller.pool != session.pool:
            raise Refused(Code.ABORTED, f"the data plane belongs to pool '{caller.pool}' now")
        if caller.pool == DEFAULT_POOL:
            self._credentials.known_as(caller, session.node)

    def _own(self, pool: str) -> OwnReports:
        return OwnReports(self._hub.watcher.current, pool)

    async def _send(
        self, session: Session, message: Snapshot | Delta, context: Context, capabilities: Capabilities
    ) -> None:
        encoded = await self._encoded(message)
        if len(encoded) > encoder.PART and TAKES_PARTS in capabilities:
            for part in self._encoder.parts(encoded):
                await context.write(part)
        elif len(encoded) <= encoder.MOST_WHOLE:
            await context.write(encoded)
        else:
            self._too_large(session, message.revision, len(encoded))
            return
        self._hub.sent(session, message)

    async def _encoded(self, message: Snapshot | Delta) -> bytes:
        """Encode thousands of resources in turns with other streams, and once for all that are to get them."""
        stamped = message.resources if isinstance(message, Snapshot) else message.changed
        if len(stamped) > encoder.AT_ONCE:
            async with self._encoding:
                for _ in self._encoder.prepare(message):
                    await asyncio.sleep(0)
        return self._encoder.encode(message)

    def _too_large(self, session: Session, revision: int, size: int) -> None:
        """Nothing can be sent: show it as a rejection, because the data plane would reject it."""
        limit = encoder.MOST_WHOLE >> 20
        detail = f"has {size >> 20} MiB, but this data plane accepts at most {limit} MiB: upgrade it"
        if (mark := session.subscriber.nack(revision)) is not None:
            self._fleet.nack(session.node, mark.revision, [NodeProblem("", "", detail)], mark.digest)
            self._hub.rollouts.nacked(session.node, mark.revision, [detail])
        logger.error(
            "the configuration is too large for a data plane", extra=_about(session) | {"reason": detail}
        )

    def _asks(self, session: Session) -> Reporting:
        self._fleet.settle_demand()
        return self._fleet.reporting(session.node)

    async def _read(self, session: Session, requests: Requests) -> None:
        async for request in requests:
            if session.ending is not None:
                continue
            if request.HasField("health"):
                await self._take_health(session, request.health)
            else:
                self._take(session, request)

    async def _take_health(self, session: Session, report: status_pb2.HealthReport) -> None:
        """Take turns with the other streams: many data planes may report thousands of instances at once."""
        node, parts, whole = session.node, report_messages.slices(report), not report.changes
        own = self._own(session.pool)
        listed: set[InstanceName] = set()
        for part in parts[:-1]:
            found = own.health(report_messages.health(part))
            self._fleet.health(node, found, changes=True, unknown=report_messages.unknown(part))
            if whole:
                listed.update(one.name for one in found)
            await asyncio.sleep(0)
        last = parts[-1]
        self._fleet.health(
            node,
            own.health(report_messages.health(last)),
            report.revision,
            changes=report.changes,
            unknown=report_messages.unknown(last),
            listed=listed,
        )

    def _take(self, session: Session, request: pb.StreamRequest) -> None:
        match request.WhichOneof("message"):
            case "ack":
                self._acked(session, request.ack.revision)
            case "nack" if request.nack.mismatch:
                self._mismatched(session, request.nack.revision)
            case "nack":
                self._nacked(session, request.nack)
            case "leaving":
                leaving = report_messages.leaving(request.leaving.instances)
                self._fleet.leaving(session.node, self._own(session.pool).leaving(leaving))
            case "stats":
                stats = self._own(session.pool).stats(report_messages.stats(request.stats))
                self._fleet.stats(session.node, stats, changes=request.stats.changes)
            case "asks":
                if self._limits is not None:
                    self._limits.take(session.node, request.asks, self._own(session.pool))
            case "answer":
                if self._questions is not None:
                    self._questions.answered(session.node, request.answer)
            case "hello":
                raise Refused(Code.FAILED_PRECONDITION, "hello must be the first message, and only that one")
            # Other messages come from a newer data plane, and are ignored.

    def _acked(self, session: Session, revision: int) -> None:
        if (mark := session.subscriber.ack(revision)) is not None:
            self._fleet.ack(session.node, mark.revision, mark.digest)
            self._hub.rollouts.acked(session.node, mark.revision)
            session.answered()

    def _nacked(self, session: Session, nack: pb.Nack) -> None:
        if (mark := session.subscriber.nack(nack.revision)) is not None:
            problems = report_messages.problems(nack)
            self._fleet.nack(session.node, mark.revision, problems, mark.digest)
            self._hub.rollouts.nacked(session.node, mark.revision, map(str, problems))
            session.wake.set()
            extra = {"revision": mark.revision, "problems": list(map(str, problems))}
            logger.warning("data plane rejected a revision", extra=_about(session) | extra)

    def _mismatched(self, session: Session, revision: int) -> None:
        if session.subscriber.mismatch(revision):
            self._hub.messages.mismatches += 1
            session.wake.set()
            logger.warning("a delta did not match", extra=_about(session) | {"revision": revision})


def _joined(answers: Answers) -> limits_pb2.LimitAnswers:
    """Take all waiting answers, as one message."""
    joined = limits_pb2.LimitAnswers()
    for one in answers:
        joined.MergeFrom(one)
    answers.clear()
    return joined


def _about(session: Session) -> dict[str, object]:
    return {"node": session.node}
