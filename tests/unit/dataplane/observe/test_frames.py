"""What a worker says of itself once a second."""

from __future__ import annotations

import json

import pytest

from dataplane.config.builtin import STATUS_SERVICE
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import Open, Outcome
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Circuit, Limit, LimitKey
from dataplane.observe.frames import StatsFrames
from dataplane.observe.record import Recorder
from dataplane.observe.stats import NodeStats


@pytest.fixture
def breakers() -> Breakers:
    found = Breakers()
    found.adopt({name: Circuit(failure_threshold=2) for name in ("orders", "payments", STATUS_SERVICE)})
    return found


def fail(breakers: Breakers, service: str, times: int, now: float) -> None:
    for _ in range(times):
        trial = breakers.admit(service, now)
        assert not isinstance(trial, Open)
        trial.settle(Outcome.FAILURE, now)


def test_a_frame_is_what_the_supervisor_reads(breakers: Breakers) -> None:
    limiter = Limiter()
    limit = Limit("burst", 1.0, 2, LimitKey.SUBJECT)
    limiter.adopt({"burst": limit}, 0.0)
    for _ in range(3):
        limiter.counter(limit).take("alice", 50.0)
    fail(breakers, "orders", 2, 50.0)
    frames = StatsFrames(Recorder(None), breakers, limiter)
    stats = NodeStats()
    stats.keep(dict.fromkeys(("orders", "payments", STATUS_SERVICE)), {})
    stats.take(0, json.loads(json.dumps(frames.next(50.0, 1_700_000_050.0, 7, in_flight=3))))
    circuits = {circuit.service: circuit for circuit in stats.circuits()}
    assert sorted(circuits) == ["orders", "payments"]
    assert circuits["orders"].state == "open"
    assert circuits["orders"].last_state_change == pytest.approx(1_700_000_050.0)
    assert circuits["orders"].reason == "Circuit opened after 2 failures"
    assert circuits["payments"].last_state_change == 0.0
    (bucket,) = stats.buckets()
    assert (bucket.name, bucket.key, bucket.refused) == ("burst", "subject:alice", 1)
    assert (stats.connections, stats.in_flight) == (7, 3)
    stats.end(0)
    assert (stats.connections, stats.in_flight) == (0, 0)


def test_only_circuits_with_news_are_told_again(breakers: Breakers) -> None:
    frames = StatsFrames(Recorder(None), breakers, Limiter())
    assert frames.next(51.0, 0.0, 0)["circuits"] == []
    fail(breakers, "payments", 1, 51.5)
    assert [circuit[0] for circuit in frames.next(52.0, 0.0, 0)["circuits"]] == ["payments"]


def test_transitions_are_logged(breakers: Breakers, caplog: pytest.LogCaptureFixture) -> None:
    frames = StatsFrames(Recorder(None), breakers, Limiter())
    fail(breakers, "orders", 2, 50.0)
    frames.next(50.0, 0.0, 0)
    frames.next(51.0, 0.0, 0)
    (record,) = caplog.records
    assert (record.message, record.__dict__["service"]) == ("Circuit opened after 2 failures", "orders")


def test_ten_thousand_quiet_services_take_no_room_in_a_frame() -> None:
    breakers = Breakers()
    breakers.adopt({f"s{number}": Circuit() for number in range(10_000)})
    frames = StatsFrames(Recorder(None), breakers, Limiter())
    for number in range(10_000):
        fail(breakers, f"s{number}", 1, 51.0)
    assert len(frames.next(52.0, 0.0, 0)["circuits"]) == 10_000
    quiet = frames.next(200.0, 0.0, 0)
    assert len(json.dumps(frames.next(201.0, 0.0, 0))) < 500, quiet
