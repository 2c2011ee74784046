"""What wrk printed, and what the open-loop generator wrote."""

from __future__ import annotations

import array
from pathlib import Path

import pytest

from tests.benchmarks.load import LoadError, Spent, Timeline, parse

GOOD = """Running 4s test @ http://127.0.0.1:9000
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.10ms    1.00ms  20.00ms   80.00%
  Latency Distribution
     50%    2.00ms
     99%    {p99}
  120000 requests in 4.00s, 150.00MB read
Requests/sec:  30000.50
"""


def test_a_report_is_read() -> None:
    sample = parse(GOOD.format(p99="8.50ms"), Spent(cpu_us=2_400_000))
    assert (sample.requests_per_second, sample.cpu_us_per_request) == (30000.5, 20.0)
    assert (sample.p99_ms, sample.errors) == (8.5, 0)


@pytest.mark.parametrize(
    ("printed", "expected"), [("950.00us", 0.95), ("1.20s", 1200.0), ("1.00m", 60_000.0)]
)
def test_latencies_come_in_any_unit(printed: str, expected: float) -> None:
    assert parse(GOOD.format(p99=printed), Spent()).p99_ms == pytest.approx(expected)


def test_refusals_and_broken_connections_are_errors() -> None:
    bad = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
    assert parse(GOOD.format(p99="1ms") + bad, Spent()).errors == 15


@pytest.mark.parametrize(
    "printed", ["", "unable to connect to 127.0.0.1:9 Connection refused", "Requests/sec: 5"]
)
def test_anything_else_is_no_result(printed: str) -> None:
    with pytest.raises(LoadError):
        parse(printed, Spent())


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    path = tmp_path / "timeline"
    rows = ([10.0, 10.5, 11.0], [0.001, 0.040, 0.002], [200.0, 503.0, 200.0])
    path.write_bytes(b"".join(array.array("d", row).tobytes() for row in rows))
    return Timeline.read(path)


def test_the_longest_latency_of_a_window(timeline: Timeline) -> None:
    assert timeline.worst(10.0, 11.0) == 0.040
    assert timeline.worst(10.6, 12.0) == 0.002
    assert timeline.worst(20.0, 21.0) == 0.0


def test_failures_tell_when_they_were_due(timeline: Timeline) -> None:
    assert timeline.failures() == [(10.5, 503)]


def test_an_empty_timeline_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(b"")
    assert Timeline.read(tmp_path / "none").failures() == []
