"""Answers the questions of operators: explains a decision, or shows requests as they end.

Nothing of a question is logged: it may hold secrets.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Final

from dataplane.channel import Channel, Kind
from dataplane.config.apply import Assembly
from dataplane.config.decode.question import (
    BadQuestion,
    ExplainQuestion,
    Question,
    StopQuestion,
    TapQuestion,
    Told,
    ToldStep,
    explanation_answer,
    problem_answer,
    read_question,
    tapped_answer,
)
from dataplane.config.table import TableError
from dataplane.gateway.decide import Gateway, Observer
from dataplane.gateway.explanation import Explanation, explain
from dataplane.gateway.twin import GatewayTwin
from dataplane.observe.tap import Filter, Tap, TappedRecorder
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.parsed import read_head
from dataplane.proxy.trust import Peer, TrustedProxies, canonical_address
from dataplane.worker.steps import in_steps

SHOW_EVERY: Final = 0.1
"""Seconds between two answers to a tap."""
LONGEST_TAP: Final = 600.0
MOST_SHOWN: Final = 1000
"""Requests that one tap shows."""
MAX_UNREAD: Final = 1024 * 1024
"""Bytes the supervisor may leave unread before taps show no more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """What the worker is, as far as answers depend on it."""

    index: int
    bounds: Bounds
    trusted: TrustedProxies
    redact: tuple[str, ...]


class Answering:
    """Answers for one worker."""

    def __init__(
        self, gateway: Gateway, recorder: Observer, assembly: Assembly, place: Place, channel: Channel
    ) -> None:
        """`recorder` observes the gateway while there is no tap."""
        self._gateway = gateway
        self._recorder = recorder
        self._assembly = assembly
        self._place = place
        self._channel = channel
        self._tapped = TappedRecorder(recorder, place.redact)
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, payload: bytes) -> None:
        """Answer a question, beside the worker's other work."""
        task = asyncio.create_task(self._answer(payload), name="question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Answer no more."""
        for task in self._tasks:
            task.cancel()

    async def _answer(self, payload: bytes) -> None:
        question = ""
        try:
            question, about = read_question(payload)
            await self._about(question, about)
        except BadQuestion as error:
            self._channel.send(Kind.ANSWER, problem_answer(question or error.question, str(error)))
        except TableError as error:
            self._channel.send(Kind.ANSWER, problem_answer(question, f"{error}."))
        except Exception as error:
            _log.error("a question cannot be answered", extra={"error": type(error).__name__})
            self._channel.send(Kind.ANSWER, problem_answer(question, "Internal error of the data plane."))

    async def _about(self, question: str, about: Question) -> None:
        match about:
            case ExplainQuestion():
                told = await self._explain(about)
                self._channel.send(Kind.ANSWER, explanation_answer(question, told))
            case TapQuestion():
                await self._tap(question, about)
            case StopQuestion():
                self._tapped.taps.pop(question, None)

    async def _explain(self, about: ExplainQuestion) -> Told:
        table = self._gateway.table
        if about.revision:
            if about.revision > table.revision:
                raise BadQuestion(f"This data plane serves revision {table.revision}, which is older.")
            changed = await in_steps(about.decoding())
            table = await in_steps(self._assembly.variant(changed, about.removed, about.revision))
        place, now = self._place, time.monotonic()
        twin = GatewayTwin(self._gateway, table, now)
        client = Nobody(self._peer(about))
        exchange = read_head(about.head, client, twin, place.bounds, place.trusted)
        client.entrance.sites = table.sites.get(_port(exchange))
        if exchange.request is not None:
            client.server_name = exchange.request.host
        # The decision is made in the first step, before any other work: the twin is as the gateway is.
        return _told(await in_steps(explain(exchange, twin, table, now)), place.index)

    def _peer(self, about: ExplainQuestion) -> Peer:
        address = canonical_address(about.address)
        if address is None:
            raise BadQuestion("The address of the client is not an IP address.")
        return Peer(address, address in self._place.trusted, "https" if about.secure else "http")

    async def _tap(self, question: str, about: TapQuestion) -> None:
        """Show requests until the tap has ended or was stopped."""
        wanted = Filter(about.route, about.service, about.least_status, about.most_status)
        count, seconds = min(about.count, MOST_SHOWN), min(about.seconds, LONGEST_TAP)
        tap, taps = Tap(wanted, count, time.monotonic() + seconds), self._tapped.taps
        taps[question] = tap
        self._tapped.set_clock()
        self._gateway.observe(self._tapped)
        try:
            while taps.get(question) is tap and not tap.ended(time.monotonic()):
                await asyncio.sleep(SHOW_EVERY)
                self._tapped.set_clock()
                self._show(question, tap, last=False)
        finally:
            if taps.get(question) is tap:
                del taps[question]
            if not taps:
                self._gateway.observe(self._recorder)
        self._show(question, tap, last=True)

    def _show(self, question: str, tap: Tap, *, last: bool) -> None:
        shown, skipped = tap.take()
        if self._channel.backlog > MAX_UNREAD:
            shown, skipped = [], skipped + len(shown)
        if shown or skipped or last:
            self._channel.send(Kind.ANSWER, tapped_answer(question, shown, skipped, last=last))


def _port(exchange: Exchange) -> int:
    """The port in the Host of a request; 0 without one."""
    authority = b"" if exchange.request is None else exchange.request.authority
    port = authority.rpartition(b":")[2]
    return int(port) if port.isdigit() and len(port) <= 5 else 0


def _told(explanation: Explanation, worker: int) -> Told:
    steps = tuple(
        ToldStep(one.stage, one.outcome, one.text, json.dumps(one.details) if one.details else "")
        for one in explanation.steps
    )
    return Told(
        explanation.revision,
        worker,
        explanation.status,
        explanation.decision,
        explanation.detail,
        explanation.reason,
        explanation.route,
        explanation.service,
        explanation.instance,
        steps,
    )
