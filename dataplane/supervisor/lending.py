"""The supervisor's part in leased limits: it owns those that its workers share, and forwards asks about the others.

Asks of limits of the fleet that come within one turn of the event loop go to the control plane as one message. It also
lists the running workers: so the owners learn of every worker that has ended, even if a message was lost.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from dataplane.channel import Kind
from dataplane.gateway.policy.leased import counts_by, terms
from dataplane.gateway.policy.resources import Limit, LimitMode
from headgate_api.leases import codec
from headgate_api.leases.owner import Owner
from headgate_api.v1 import limits_pb2 as pb

MOST_ACCOUNTS, LEAST_ACCOUNTS = 200_000, 1000
"""Keys that are not full, of all limits together, and of each at least: some 700 bytes each."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of the asks in one message: control planes take messages of 16 MiB."""
SWEEP_EVERY = 0.5
"""Seconds."""

_log = logging.getLogger(__name__)


class Uplink(Protocol):
    """The destination of asks for fleet limits. `config.stream.ConfigStream` implements it."""

    def ask_limits(self, asks: pb.LimitAsks) -> bool:
        """Queue a message; False when there is no control plane that takes it."""


class Borrower(Protocol):
    """A worker. `supervisor.process.WorkerProcess` implements it."""

    @property
    def name(self) -> str:
        """Unique in this run of the supervisor."""

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame."""


class Lending:
    """All leased limits of the node."""

    def __init__(
        self,
        workers: Callable[[], Iterable[Borrower]],
        count: int,
        uplink: Uplink,
        limits: Callable[[], Mapping[str, Limit]],
        default: Limit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workers` gives those whose process has not ended, of `count` that there should be; `limits` those of the
        table, by name, another object after each change; `default` is that of the settings."""
        self._workers = workers
        self._count = count
        self._uplink = uplink
        self._clock = clock
        self._source = limits
        self._seen: Mapping[str, Limit] = {}
        self._default = {default.name: default} if default is not None else {}
        self._limits: Mapping[str, Limit] = dict(self._default)
        self._owners: dict[str, tuple[str, Owner]] = {}
        """The bucket identity and the owner, by limit."""
        self._run = secrets.token_hex(8)
        self._sequence = 0
        self._pending: list[pb.LimitAsk] = []

    def take(self, worker: Borrower, kind: Kind, payload: bytes) -> None:
        """A worker's frame of asks. Raises ValueError for an invalid frame."""
        now = self._clock()
        self._adopt(now)
        asks = pb.LimitAsks.FromString(payload).asks
        for ask in asks:
            ask.worker = worker.name
        if kind is Kind.NODE_ASKS:
            answers = [answer for ask in asks if (answer := self._answer(worker.name, ask, now)) is not None]
            if answers:
                worker.send(Kind.GRANTS, pb.LimitAnswers(answers=answers).SerializeToString())
            return
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._pending.extend(asks)

    def answered(self, answers: pb.LimitAnswers) -> None:
        """A control plane's answer."""
        by_worker: dict[str, list[pb.LimitAnswer]] = {}
        for answer in answers.answers:
            by_worker.setdefault(answer.worker, []).append(answer)
        for worker in self._workers():
            if found := by_worker.get(worker.name):
                worker.send(Kind.GRANTS, pb.LimitAnswers(answers=found).SerializeToString())

    def lost(self) -> None:
        """The stream to the control plane broke: its open asks will not be answered."""
        for worker in self._workers():
            worker.send(Kind.LOST)

    def ended(self, name: str) -> None:
        """A worker's process has ended."""
        now = self._clock()
        for _, owner in self._owners.values():
            owner.leave(name, now)
        if any(_of_fleet(limit) for limit in self._limits.values()):
            self._pass_on()

    async def run(self) -> None:
        """Forget outdated data, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            now = self._clock()
            self._adopt(now)
            for _, owner in self._owners.values():
                owner.sweep(now)

    def _adopt(self, now: float) -> None:
        """Follow the table."""
        found = self._source()
        if found is self._seen:
            return
        self._seen = found
        self._limits = limits = {**found, **self._default}
        for name, (key, owner) in list(self._owners.items()):
            limit = limits.get(name)
            leased = None if limit is None or _of_fleet(limit) else terms(limit, self._count)
            if limit is None or leased is None or counts_by(limit) != key:
                del self._owners[name]
            elif leased != owner.roll.limit:
                owner.adopt(leased, now)

    def _answer(self, worker: str, ask: pb.LimitAsk, now: float) -> pb.LimitAnswer | None:
        owner = self._owner(ask.limit, ask.counts_by, now)
        if owner is None:
            return codec.refusal(ask)
        answer = owner.ask(worker, codec.read_ask(ask), now)
        return None if answer is None else codec.answer_message(ask, answer)

    def _owner(self, name: str, key: str, now: float) -> Owner | None:
        """None while the worker has another configuration than this process."""
        found = self._owners.get(name)
        if found is not None:
            return found[1] if found[0] == key else None
        limit = self._limits.get(name)
        leased = None if limit is None or _of_fleet(limit) else terms(limit, self._count)
        if limit is None or leased is None or counts_by(limit) != key:
            return None
        owner = Owner(leased, 1, now, takeover=False, stored=False)
        self._owners[name] = key, owner
        most = max(LEAST_ACCOUNTS, MOST_ACCOUNTS // len(self._owners))
        for _, each in self._owners.values():
            each.most = most
        return owner

    def _pass_on(self) -> None:
        """Send the workers' asks to the control plane."""
        asks, self._pending = self._pending, []
        workers = [worker.name for worker in self._workers()]
        for some in _in_parts(asks):
            self._sequence += 1
            message = pb.LimitAsks(run=self._run, sequence=self._sequence, workers=workers, asks=some)
            if not self._uplink.ask_limits(message) and some:
                self.lost()
                return


def _in_parts(asks: list[pb.LimitAsk]) -> Iterator[list[pb.LimitAsk]]:
    """The asks, as many at a time as fit in a message; one empty list if there are none."""
    some: list[pb.LimitAsk] = []
    size = 0
    for ask in asks:
        size += ask.ByteSize()
        if some and size > MOST_BYTES:
            yield some
            some, size = [], ask.ByteSize()
        some.append(ask)
    yield some


def _of_fleet(limit: Limit) -> bool:
    return limit.mode is LimitMode.FLEET
