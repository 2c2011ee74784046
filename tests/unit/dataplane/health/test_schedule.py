"""Who is probed next: services of instances that answer at once, and of instances that never do."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator

from dataplane.health.schedule import Job, Rank, Schedule

SLOTS = 512
QUICK = 0.005
"""Seconds an instance takes that answers."""


class World:
    """Probes that take as long as their instance says, in time that jumps from one event to the next."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.schedule = Schedule(slots)
        self.now = 0.0
        self.first: dict[Job, float] = {}
        """When the first probe of an instance ended."""
        self.starts: Counter[Job] = Counter()
        self.most = 0
        self._dead: set[Job] = set()
        self._interval: dict[Job, float] = {}
        self._ends: list[tuple[float, int, Job]] = []
        self._number = itertools.count()

    def add(
        self,
        service: str,
        count: int = 1,
        *,
        dead: bool = False,
        timeout: float = 5.0,
        interval: float = 10.0,
    ) -> list[Job]:
        jobs = [Job(service, timeout) for _ in range(count)]
        for job in jobs:
            self._interval[job] = interval
            self.schedule.plan(job, self.now)
        self._dead.update(jobs if dead else ())
        return jobs

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            while (job := self.schedule.start(self.now)) is not None:
                self.starts[job] += 1
                takes = job.timeout if job in self._dead else QUICK
                heapq.heappush(self._ends, (self.now + takes, next(self._number), job))
                self.most = max(self.most, self.schedule.in_flight)
            if (at := min(self._events(), default=until)) >= until:
                break
            self.now = max(self.now, at)
            while self._ends and self._ends[0][0] <= self.now:
                self._end(heapq.heappop(self._ends)[2])
        self.now = until

    def _events(self) -> Iterator[float]:
        if self._ends:
            yield self._ends[0][0]
        # What is due already waits for a slot, and a slot for an end.
        if (at := self.schedule.wake_at()) is not None:
            yield at

    def _end(self, job: Job) -> None:
        self.schedule.end(job, self.now)
        self.first.setdefault(job, self.now)
        self.schedule.plan(job, self.now + self._interval[job])


def test_one_probe_after_the_other() -> None:
    world = World()
    (job,) = world.add("orders", interval=10)
    world.run(until=35)
    assert world.starts[job] == 4


def test_half_of_a_thousand_instances_are_black_holes_and_the_others_do_not_notice() -> None:
    world = World()
    good = [job for number in range(20) for job in world.add(f"s{number}", 25)]
    for number in range(20):
        world.add(f"s{number}", 25, dead=True)
    world.run(until=10)
    assert len(world.first.keys() & set(good)) == 500
    assert max(world.first[job] for job in good) < 1


def test_in_one_single_service_too() -> None:
    world = World()
    world.add("orders", 500, dead=True)
    good = world.add("orders", 500)
    world.run(until=20)
    assert max(world.first[job] for job in good) < 10


def test_those_that_answer_are_probed_on_time_for_good() -> None:
    world = World()
    good = [job for number in range(20) for job in world.add(f"s{number}", 25)]
    for number in range(20):
        world.add(f"s{number}", 100, dead=True)
    world.run(until=100)
    before = world.starts.copy()
    world.run(until=200)
    assert {world.starts[job] - before[job] for job in good} <= {9, 10}


def test_a_service_of_black_holes_leaves_slots_for_newcomers() -> None:
    world = World()
    world.add("holes", 5000, dead=True, timeout=60.0)
    world.run(until=1)
    assert world.schedule.in_flight == SLOTS // 2
    newcomers = world.add("new", 100)
    world.run(until=2)
    assert all(world.first[job] < 1.1 for job in newcomers)


def test_so_do_many_services_of_black_holes() -> None:
    world = World()
    for number in range(10):
        world.add(f"holes{number}", 1000, dead=True, timeout=60.0)
    world.run(until=1)
    assert world.schedule.in_flight < SLOTS
    newcomers = world.add("new", 100)
    world.run(until=2)
    assert all(world.first[job] < 1.1 for job in newcomers)


def test_instances_that_were_slow_share_half_of_the_slots() -> None:
    world = World(slots=10)
    for number in range(10):
        world.add(f"holes{number}", dead=True, timeout=5, interval=1)
    world.run(until=5.5)
    world.run(until=7)
    assert world.schedule.in_flight == 5
    assert all(job.rank is Rank.SLOW for job in world.first)


def test_first_probes_go_before_others_and_short_timeouts_before_long_ones() -> None:
    world = World(slots=2)
    (again,) = world.add("again", interval=1)
    world.run(until=0.5)
    (hole,) = world.add("hole", dead=True, timeout=1)
    world.add("hole2", dead=True, timeout=1)
    world.run(until=1.2)  # no slot is free, and `again` is due
    (long,) = world.add("long", dead=True, timeout=60)
    (short,) = world.add("short", dead=True, timeout=2)
    world.schedule.end(hole, 1.2)
    order = [world.schedule.start(1.2), world.schedule.start(1.2)]
    assert order == [short, None]
    world.schedule.end(short, 1.3)
    assert world.schedule.start(1.3) is long
    world.schedule.end(long, 1.4)
    assert world.schedule.start(1.4) is again


def test_what_is_dropped_does_not_start() -> None:
    world = World(slots=2)
    jobs = world.add("orders", 3)
    world.schedule.drop(jobs[0])
    assert world.schedule.start(0) is jobs[1]
    assert world.schedule.start(0) is None  # a service may not hold more than is free
    world.schedule.drop(jobs[2])
    world.schedule.end(jobs[1], 1)
    assert (world.schedule.start(1), world.schedule.wake_at()) == (None, None)


def test_one_that_is_planned_anew_starts_once() -> None:
    schedule = Schedule(10)
    job = Job("orders", 5.0)
    for _ in range(3):
        schedule.plan(job, 1.0)
    assert (schedule.start(1.0), schedule.start(1.0)) == (job, None)


def test_the_most_in_flight_is_bounded_and_memory_stays_flat() -> None:
    world = World()
    for number in range(1000):
        world.add(f"s{number}", dead=number % 2 == 0, timeout=1, interval=1)
    world.run(until=60)
    assert world.most <= SLOTS
    assert all(len(heads) <= 3000 for heads in world.schedule._heads.values())
