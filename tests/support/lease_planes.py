"""A simulated fleet with one limit: data planes of several workers, with supervisors that keep a record of shares on
disk. Each step is chosen from outside; messages under way arrive in any order, or never."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import Answer, Ask, Limit
from headgate_api.leases.owner import Owner, first_floors
from headgate_api.leases.shares import Row, Shares
from headgate_api.leases.successor import Successor
from tests.support.lease_fleet import Meter

LIMIT = "callers"


@dataclass
class Record:
    """A file: of which boot and folder, and its content."""

    place: tuple[int, int]
    run: str
    rows: list[Row]


@dataclass
class Message:
    """From a supervisor: the list of its workers, and the ask of one of them, if any."""

    plane: str
    run: str
    sequence: int
    workers: frozenset[str]
    worker: str = ""
    ask: Ask | None = None


@dataclass
class Plane:
    """A data plane: its processes, its host's clock (`offset + speed * time`), and its disk."""

    name: str
    folder: int
    offset: float
    speed: float
    boot: int = 0
    disk: Record | None = None
    run: str = ""
    reachable: bool = True
    """Whether its messages reach the owner."""
    sequence: int = 0
    shares: Shares = field(default_factory=Shares)
    workers: list[tuple[str, Holder]] = field(default_factory=list)

    def clock(self, now: float) -> float:
        return self.offset + self.speed * now


@dataclass
class Planes:
    """The fleet, and the control plane that owns the limit."""

    limit: Limit
    keys: tuple[str, ...] = ("alice", "bob")
    now: float = 0.0
    epoch: int = 1
    numbers: int = 0
    planes: list[Plane] = field(default_factory=list)
    asks: list[tuple[int, Message]] = field(default_factory=list)
    answers: list[tuple[Plane, str, str, Answer]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.floors = first_floors(self.limit)
        self.owner = Owner(self.limit, 1, 0.0, takeover=False)
        self.heard: dict[str, dict[str, tuple[int, frozenset[str]]]] = {}
        """The workers by data plane and run, and the number of the message that named them."""
        self.meters = {key: Meter(self.limit) for key in self.keys}

    def join(self, workers: int = 1, speed: float = 1.0) -> Plane:
        """A new data plane on a host of its own."""
        number = self._number()
        plane = Plane(f"node-{number}", number, 1e6 * number, speed)
        plane.workers = [("", Holder(self.limit))] * workers
        self.planes.append(plane)
        self.start(plane)
        return plane

    def copied(self, plane: Plane) -> Plane:
        """Another data plane, at the same host, starts with a copy of the folder."""
        number = self._number()
        other = Plane(f"node-{number}", number, plane.offset, plane.speed, plane.boot, copy(plane.disk))
        other.reachable = plane.reachable
        other.workers = [("", Holder(self.limit))] * len(plane.workers)
        self.planes.append(other)
        self.start(other)
        return other

    def reach(self, reachable: bool) -> None:
        """The owner goes away for all data planes, or comes back."""
        for plane in self.planes:
            plane.reachable = reachable

    def start(self, plane: Plane) -> None:
        """All its processes were killed, if there were any. Start it again."""
        now, record = plane.clock(self.now), plane.disk
        before = plane.run
        plane.run, rows = f"run-{self._number()}", []
        if record is not None and record.place == (plane.boot, plane.folder):
            rows = [row for row in record.rows if now < row.share.until]
            plane.run = record.run if rows else plane.run
        if plane.run != before:
            # Streams end with their process: none brings the first message of a run after those of later ones.
            self.asks = [one for one in self.asks if one[1].run != before]
        plane.disk = Record((plane.boot, plane.folder), plane.run, rows) if rows else None
        plane.shares = Shares(rows)
        plane.workers = [self._worker(plane, index) for index in range(len(plane.workers))]

    def reboot(self, plane: Plane) -> None:
        """The host restarts, and its clock begins anew."""
        plane.boot += 1
        plane.offset = 10.0 - plane.speed * self.now
        self.start(plane)

    def end_worker(self, plane: Plane, index: int) -> None:
        """One worker is killed, and another one takes its place."""
        plane.shares.ended(plane.workers[index][0], plane.clock(self.now))
        del plane.workers[index]
        self._send(plane)
        plane.workers.insert(index, self._worker(plane, index))

    def goodbye(self, plane: Plane) -> None:
        """All workers end, as in a drain; then it starts again."""
        count = len(plane.workers)
        for _ in range(count):
            plane.shares.ended(plane.workers.pop()[0], plane.clock(self.now))
            self._send(plane)
        plane.workers = [("", Holder(self.limit))] * count
        self.start(plane)

    def supervise(self, plane: Plane) -> None:
        """What a supervisor does twice a second."""
        rows = plane.shares.due(plane.clock(self.now))
        if plane.shares.outdated:
            self._remove(plane)
            self._send(plane)
        elif rows:
            plane.disk = Record((plane.boot, plane.folder), plane.run, rows)

    def spend(self, plane: Plane, index: int, key: str, most: int) -> int:
        """Requests to one worker; how many are admitted."""
        clock = plane.clock(self.now)
        holder = plane.workers[index][1]
        holding = holder.holdings.get(key) or holder.open(key, clock)
        admitted = 0
        for _ in range(most):
            if holding.take(1.0, clock):
                self.meters[key].admit(self.now)
                admitted += 1
        return admitted

    def tick(self, plane: Plane, index: int) -> None:
        """A worker asks, if an ask is due."""
        worker, holder = plane.workers[index]
        ask = holder.ask(plane.clock(self.now))
        if ask is not None:
            plane.shares.asked(worker, LIMIT, ask.run)
            self._send(plane, worker, ask)
            if not plane.reachable:
                holder.lost()
        if isinstance(holder, Successor) and not holder.inherits(plane.clock(self.now)):
            plane.shares.dropped(index)
            self._send(plane)

    def hear(self, which: int) -> None:
        """A message arrives at the owner, unless the owner has gone."""
        if not self.asks:
            return
        epoch, message = self.asks.pop(which % len(self.asks))
        if epoch != self.epoch or not self._listed(message) or message.ask is None:
            return
        answer = self.owner.ask(f"{message.plane}/{message.run}/{message.worker}", message.ask, self.now)
        plane = next(one for one in self.planes if one.name == message.plane)
        if answer is not None:
            self.answers.append((plane, message.run, message.worker, answer))

    def answer(self, which: int) -> None:
        """An answer arrives at a supervisor, and at the worker."""
        if not self.answers:
            return
        plane, run, worker, answer = self.answers.pop(which % len(self.answers))
        if plane.run != run:
            return
        now = plane.clock(self.now)
        plane.shares.answered(worker, LIMIT, "subject", answer, now)
        if plane.shares.outdated:
            self._remove(plane)
        for name, holder in plane.workers:
            if name == worker:
                holder.answer(answer, now)

    def exchange(self, plane: Plane, index: int) -> None:
        """An ask and its answer, at once, if the owner can be reached."""
        self.store()
        plane.workers[index][1].lost()
        before = len(self.asks)
        self.tick(plane, index)
        while len(self.asks) > before:
            answers = len(self.answers)
            self.hear(before)
            if len(self.answers) > answers:
                self.answer(answers)

    def turns(self, seconds: float) -> None:
        """Everything goes its way: each worker asks, each supervisor looks after its record."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.1
            for plane in self.planes:
                self.supervise(plane)
                for index in range(len(plane.workers)):
                    self.exchange(plane, index)
            self.owner.sweep(self.now)

    def take_over(self) -> None:
        """A new owner, without any state but the store's."""
        self.epoch += 1
        self.heard.clear()
        self.owner = Owner(self.limit, self.epoch, self.now, takeover=True, floors=self.floors)

    def store(self) -> None:
        reservation = self.owner.reserve(self.now)
        if reservation is not None:
            self.floors = reservation.floors
            self.owner.reserved(reservation)

    def check(self) -> None:
        """Whatever requests came now, the bound would hold."""
        for key, meter in self.meters.items():
            at_once = sum(
                _spendable(holder, key, plane.clock(self.now))
                for plane in self.planes
                for _, holder in plane.workers
            )
            assert meter.level(self.now) + at_once <= self.limit.burst + 1e-6

    def _worker(self, plane: Plane, index: int) -> tuple[str, Holder]:
        rows = plane.shares.left_to(index)
        holder = Holder(self.limit)
        if rows and self.limit.shared:
            holder = Successor(self.limit, rows[0].share, plane.clock(self.now))
        return f"{index}.{self._number()}", holder

    def _send(self, plane: Plane, worker: str = "", ask: Ask | None = None) -> None:
        if plane.shares.outdated:
            self._remove(plane)
        plane.sequence += 1
        if plane.reachable:
            named = frozenset([*plane.shares.former, *(name for name, _ in plane.workers)])
            self.asks.append((self.epoch, Message(plane.name, plane.run, plane.sequence, named, worker, ask)))

    def _remove(self, plane: Plane) -> None:
        plane.disk = None
        plane.shares.removed(gone=True)

    def _listed(self, message: Message) -> bool:
        """Take the list of workers, as a control plane does; whether the ask is to be answered."""
        runs = self.heard.setdefault(message.plane, {})
        if message.run not in runs:
            for run, (_, workers) in runs.items():
                self._leave(message.plane, run, workers)
                runs[run] = -1, frozenset()
            runs[message.run] = -1, frozenset()
        sequence, workers = runs[message.run]
        if message.run != list(runs)[-1]:
            return False
        if message.sequence > sequence:
            self._leave(message.plane, message.run, workers - message.workers)
            runs[message.run] = message.sequence, message.workers
        return message.worker in runs[message.run][1]

    def _leave(self, plane: str, run: str, workers: frozenset[str]) -> None:
        for worker in workers:
            self.owner.leave(f"{plane}/{run}/{worker}", self.now)

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers


def _spendable(holder: Holder, key: str, clock: float) -> float:
    """Tokens of `key` that may be spent now."""
    if clock >= holder.until:
        return 0.0
    holding = holder.holdings.get(key)
    if holding is None:
        holder.gained(clock)
        return float(holder.starter)
    holding = copy(holding)
    holding._renew(clock)
    return max(0.0, holding.tokens)
