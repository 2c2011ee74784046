"""What a large table costs: requests with 10,000 routes over requests with ten, on two gateways in turn; and what
weights, edits of header fields and CORS cost a route."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender
from tests.benchmarks.figures import Part, paired
from tests.benchmarks.load import Sample, closed
from tests.benchmarks.progress import say, tell
from tests.benchmarks.rounds import Rounds
from tests.benchmarks.stack import CONDITIONAL, FEW, MANY
from tests.benchmarks.throughput import table, totals

SMALL, LARGE, SPREAD = "10 routes", "10,000 routes", "10,000, each asked"
HEADERS = "10,000, by header"
POLICY, FULL = "one route", "with edits"


def measure(bed: Bed, rounds: Rounds) -> Part:
    """The same ten routes asked in both tables, and ten that have another route by header beside them; beyond the
    goals, all others asked in turn."""
    say("starting a gateway with 10,000 routes …")
    contenders: list[tuple[Contender, Path]] = [
        (bed.gateway.at(SMALL, "/r", FEW), bed.gateway.tokens),
        (bed.large.at(LARGE, "/r", FEW), bed.large.tokens),
        (bed.large.at(SPREAD, "/r", MANY - 2 * CONDITIONAL), bed.large.tokens),
        (bed.large.at(HEADERS, "/h", FEW), bed.large.tokens),
        (bed.gateway.at(POLICY, "/orders"), bed.gateway.tokens),
        (bed.gateway.at(FULL, "/full"), bed.gateway.tokens),
    ]
    samples: dict[str, list[Sample]] = {contender.name: [] for contender, _ in contenders}
    for number in range(rounds.count + 1):
        # Each first as often as last: what a round's drift does to one side it does to the other in the next.
        for contender, tokens in contenders if number % 2 else reversed(contenders):
            sample = closed(contender, tokens, rounds.seconds if number else 1.0)
            tell(number, contender.name, f"{sample.requests_per_second:>10,.0f} requests/s")
            if number:
                samples[contender.name].append(sample)
    return Part(figures(samples), table(samples), *totals(samples))


def figures(samples: dict[str, list[Sample]]) -> dict[str, float]:
    """The ratios to ten routes."""
    rates = {name: [s.requests_per_second for s in rows] for name, rows in samples.items()}
    costs = {name: [s.cpu_us_per_request for s in rows] for name, rows in samples.items()}
    return {
        "routes_10000_over_10": paired(rates[LARGE], rates[SMALL]),
        "routes_10000_over_10_cpu": paired(costs[SMALL], costs[LARGE]),
        "routes_10000_each_asked_over_10": paired(rates[SPREAD], rates[SMALL]),
        "routes_10000_by_header_over_10": paired(rates[HEADERS], rates[SMALL]),
        "routes_10000_by_header_over_10_cpu": paired(costs[SMALL], costs[HEADERS]),
        "policy_with_edits_over_policy": paired(rates[FULL], rates[POLICY]),
        "policy_with_edits_over_policy_cpu": paired(costs[POLICY], costs[FULL]),
    }
