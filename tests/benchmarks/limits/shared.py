"""What a limit of the fleet lets through over ten data planes, under even and under skewed demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import Part
from tests.benchmarks.limits import demand, fleet
from tests.benchmarks.limits.admissions import excess, fullest, logged, spans, utilisation
from tests.benchmarks.limits.demand import Record
from tests.benchmarks.limits.fleet import BURST, RATE, Fleet
from tests.benchmarks.progress import say

SECONDS = 40.0
"""Of load for each kind of demand."""
OVERLOAD = 1.5
"""Requests a second over the limit's rate."""
WINDOW = 10.0
SPENT = 8.0
"""Seconds after which utilisation is measured: until then the bucket that was full at first has been spent."""


@dataclass(frozen=True)
class Found:
    """What one kind of demand showed."""

    requests: int
    admitted: int
    failed: int
    fullest: int
    """Requests that were certainly admitted in the fullest window."""
    excess: float
    """Requests above the bound in that window; below 0: room that was left."""
    arrived: float
    """The same where a request counts at the moment when it reached the service, however long it was on its way."""
    used: float
    """The limit's utilisation."""


def measure(folder: Path, seconds: float = SECONDS) -> Part:
    """Both kinds of demand, one after the other, each against a limit of its own."""
    say(f"starting {fleet.DATAPLANES} data planes …")
    found = {}
    with fleet.running(folder) as running:
        for name, shares in (("even", even(running.ports)), ("skewed", skewed(running.ports))):
            found[name] = load(running, name, shares, seconds)
    return Part(figures(found), table(found), sum(one.failed for one in found.values()))


def even(ports: list[int]) -> dict[int, float]:
    """Everyone has as much of the demand."""
    return dict.fromkeys(ports, 1 / len(ports))


def skewed(ports: list[int]) -> dict[int, float]:
    """A fifth of the data planes has four fifths of the demand."""
    hot = max(1, len(ports) // 5)
    return {port: 0.8 / hot if n < hot else 0.2 / (len(ports) - hot) for n, port in enumerate(ports)}


def load(running: Fleet, name: str, shares: Mapping[int, float], seconds: float) -> Found:
    """Demand that is divided so, for so long."""
    path = running.limit(name)
    rates = {port: share * OVERLOAD * RATE for port, share in shares.items()}
    record = demand.run(rates, path, seconds)
    found = judge(record, logged(running.lines(), path))
    statuses = ", ".join(
        f"{count:,} × {status}" for status, count in sorted(Counter(record.statuses).items())
    )
    say(
        f"{name:10}{found.admitted:>8,} of {found.requests:,} requests reached the service; answers: {statuses}"
    )
    return found


def judge(record: Record, admitted: Mapping[int, float]) -> Found:
    """What was asked for, and when of it the service logged which number."""
    sent = record.sent
    certain = spans(sent, admitted)
    arrivals = [(at, at) for at in admitted.values()]
    # The service has seen more, or less, than clients were told: then something else is wrong.
    lost = len(admitted.keys() ^ {n for n, status in enumerate(record.statuses) if status == 200})
    return Found(
        requests=len(sent),
        admitted=len(admitted),
        failed=record.failures + lost,
        fullest=fullest(certain, WINDOW),
        excess=excess(certain, RATE, BURST, WINDOW),
        arrived=excess(arrivals, RATE, BURST, WINDOW),
        used=utilisation(sent, admitted.keys(), RATE, BURST, min(sent, default=0.0) + SPENT),
    )


def figures(found: Mapping[str, Found]) -> dict[str, float]:
    """The worst of the windows, and utilisation by the kind of demand."""
    return {
        "limits_over_admission_10s": max(0.0, *(one.excess for one in found.values())),
        "limits_over_admission_10s_arrived": max(0.0, *(one.arrived for one in found.values())),
        "limits_room_left_10s": min(-one.excess for one in found.values()),
        **{f"limits_utilisation_{name}": one.used for name, one in found.items()},
    }


def table(found: Mapping[str, Found]) -> list[str]:
    """As text."""
    bound = f"of {RATE * WINDOW + BURST:,.0f} in {WINDOW:g} s"
    lines = [
        f"{'limit of the fleet':22}{'requests':>10}{'admitted':>10}{bound:>20}{'utilisation':>13}{'errors':>8}"
    ]
    for name, one in found.items():
        counts = f"{one.requests:>10,}{one.admitted:>10,}{one.fullest:>20,}"
        lines.append(f"{name + ' demand':22}{counts}{one.used:>13.3f}{one.failed:>8}")
    return lines
