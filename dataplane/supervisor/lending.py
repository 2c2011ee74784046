"""The supervisor's part in leased limits: it owns those that its workers share, and forwards asks about the others.

Asks of limits of the fleet that come within one turn of the event loop go to the control plane as one message. It also
lists the running workers: so the owners learn of every worker that has ended, even if a message was lost. A worker that
ended while no owner answered stays in the list until its successor needs its shares no more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from dataplane.channel import Kind
from dataplane.gateway.policy.leased import counts_by, terms
from dataplane.gateway.policy.resources import Limit, LimitMode
from headgate_api.leases import codec
from headgate_api.leases.messages import Answer
from headgate_api.leases.owner import Owner
from headgate_api.leases.shares import Row, Shares
from headgate_api.v1 import limits_pb2 as pb

MOST_ACCOUNTS, LEAST_ACCOUNTS = 200_000, 1000
"""Keys that are not full, of all limits together, and of each at least: some 700 bytes each."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of the asks in one message: control planes take messages of 16 MiB."""
SWEEP_EVERY = 0.5
"""Seconds."""
MOST_WAITING = 10_000
"""Asks, and messages with answers, that wait while the disk hangs. Older ones are too late for the workers anyway."""

_log = logging.getLogger(__name__)


class Uplink(Protocol):
    """The destination of asks for fleet limits. `config.stream.ConfigStream` implements it."""

    def ask_limits(self, asks: pb.LimitAsks) -> bool:
        """Queue a message; False when there is no control plane that takes it."""


class Borrower(Protocol):
    """A worker. `supervisor.process.WorkerProcess` implements it."""

    @property
    def name(self) -> str:
        """Its index and a number: unique in the run."""

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame."""


class Record(Protocol):
    """The shares on disk. Methods may block. `supervisor.share_record.ShareRecord` implements it."""

    def take_over(self, run: str, now: float, workers: int) -> tuple[str, list[Row]]:
        """The run of the process before and the shares of its workers; `run` if there are none."""

    def write(self, run: str, rows: list[Row]) -> bool:
        """Replace the record."""

    def clear(self) -> bool:
        """Remove the record; whether there is none now."""


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
        record: Record | None = None,
    ) -> None:
        """`workers` gives those whose process has not ended, of `count` that there should be; `limits` those of the
        table, by name, another object after each change; `default` is that of the settings. Without a `record`, the
        shares of workers end with this process."""
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
        self._record = record
        self._run, rows = secrets.token_hex(8), list[Row]()
        if record is not None:
            self._run, rows = record.take_over(self._run, clock(), count)
        self._shares = Shares(rows, recorded=record is not None)
        self._sequence = int(clock() * 1e6)
        """Later numbers than those of an earlier process of the same boot."""
        self._pending: list[pb.LimitAsk] = []
        self._held = deque[pb.LimitAnswers](maxlen=MOST_WAITING)
        """Answers that wait until the record of shares is gone."""
        self._wake = asyncio.Event()
        if rows:
            text = "shares of the process before are used while no control plane answers"
            _log.info(text, extra={"shares": len(rows)})

    def started(self, worker: Borrower) -> None:
        """A worker has started: it may spend the shares of its predecessors while no owner answers."""
        rows = self._shares.left_to(_index(worker))
        if rows:
            terms = [[row.limit, row.counts_by, *row.share] for row in rows]
            worker.send(Kind.SHARES, json.dumps(terms).encode())

    def take(self, worker: Borrower, kind: Kind, payload: bytes) -> None:
        """A worker's frame of asks, or that it has dropped the shares. Raises ValueError for an invalid frame."""
        if kind is Kind.DROPPED:
            self._shares.dropped(_index(worker))
            self._pass_on()
            return
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
        for ask in asks:
            self._shares.asked(worker.name, ask.limit, ask.run)
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._pending.extend(asks)
        if len(self._pending) > MOST_WAITING and self._shares.outdated:
            self._pending.clear()
            self.lost()

    def answered(self, answers: pb.LimitAnswers) -> None:
        """A control plane's answer."""
        now = self._clock()
        for one in answers.answers:
            if one.epoch:
                answer = Answer(one.stamp, one.epoch, one.starter, one.lease, one.pace, ())
                self._shares.answered(one.worker, one.limit, one.counts_by, answer, now)
        if self._shares.outdated:
            self._held.append(answers)
            self._wake.set()
        else:
            self._hand_on(answers)

    def _hand_on(self, answers: pb.LimitAnswers) -> None:
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
        self._shares.ended(name, now)
        if any(_of_fleet(limit) for limit in self._limits.values()):
            self._pass_on()

    async def run(self) -> None:
        """Forget outdated data, and keep the record of shares, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY):
                    await self._wake.wait()
            self._wake.clear()
            now = self._clock()
            await self._keep_record(now)
            self._adopt(now)
            for _, owner in self._owners.values():
                owner.sweep(now)

    async def _keep_record(self, now: float) -> None:
        """Write it when no owner answers any more. Remove it before anything passes that contradicts it."""
        rows = self._shares.due(now)
        if self._shares.outdated:
            gone = self._record is None or await asyncio.to_thread(self._record.clear)
            self._shares.removed(gone=gone)
            while self._held:
                self._hand_on(self._held.popleft())
            self._pass_on()
        elif rows and self._record is not None:
            done = await asyncio.to_thread(self._record.write, self._run, rows)
            self._shares.written(done=done)

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
        if self._shares.outdated:
            self._wake.set()
            return
        asks, self._pending = self._pending, []
        workers = [*self._shares.former, *(worker.name for worker in self._workers())]
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


def _index(worker: Borrower) -> int:
    return int(worker.name.partition(".")[0])


def _of_fleet(limit: Limit) -> bool:
    return limit.mode is LimitMode.FLEET
