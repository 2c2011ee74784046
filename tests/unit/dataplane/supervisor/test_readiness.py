"""When traffic should come to a node, and when not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dataplane.supervisor.readiness import FIRST_PROBES, Readiness


class Node:
    """Everything readiness looks at."""

    def __init__(self) -> None:
        self.now = 100.0
        self.changes = SimpleNamespace(served=SimpleNamespace(revision=5))
        self.workers = SimpleNamespace(draining=False, loaded=2, unavailable=["s/0"])
        self.prober = SimpleNamespace(first_round_done=True, unavailable=lambda: ["s/0"])
        parts = cast(tuple[Any, Any, Any], (self.changes, self.workers, self.prober))
        self.readiness = Readiness(*parts, wanted=2, clock=lambda: self.now)

    @property
    def reason(self) -> str:
        return self.readiness.reason()


def test_ready() -> None:
    assert Node().reason == ""


def test_without_a_configuration() -> None:
    node = Node()
    node.changes.served.revision = 0
    assert node.reason == "no configuration yet"


def test_while_a_worker_is_missing() -> None:
    node = Node()
    node.workers.loaded = 1
    assert node.reason == "1 of 2 workers serve a configuration"
    node.workers.loaded = 2
    assert node.reason == ""


def test_while_draining() -> None:
    node = Node()
    node.workers.draining = True
    assert node.reason == "draining"


def test_the_first_probes_are_waited_for_but_not_for_ever() -> None:
    node = Node()
    node.prober.first_round_done = False
    assert node.reason == "instances are being probed for the first time"
    node.now += FIRST_PROBES + 0.1
    assert node.reason == ""


def test_the_workers_must_know_of_the_first_probes() -> None:
    node = Node()
    node.workers.unavailable = ["s/0", "s/1"]
    assert node.reason == "instances are being probed for the first time"
    node.workers.unavailable = ["s/0"]
    assert node.reason == ""
    node.workers.unavailable = ["s/0", "s/1"]
    assert node.reason == "", "from then on it is the balancer's business"


def test_probes_of_later_instances_are_not_waited_for() -> None:
    node = Node()
    assert node.reason == ""
    node.prober.first_round_done = False
    assert node.reason == ""
