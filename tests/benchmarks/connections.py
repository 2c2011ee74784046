"""What a connection costs: a new one for each request, in the clear and over TLS, and requests on those kept open.

CPU per request of each proxy's processes: how many requests a second there were says more of the load here, because a
handshake costs the client as much as the proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.benchmarks.bed import Bed
from tests.benchmarks.contenders import Contender
from tests.benchmarks.figures import Part, paired, snake
from tests.benchmarks.load import Sample, closed, handshakes
from tests.benchmarks.progress import tell
from tests.benchmarks.rounds import Rounds

OURS = "headgate plain"
PEERS = {"nginx": "nginx plain", "envoy": "envoy plain"}
PATH = "/open"
Key = tuple[str, str]
"""Kind of connection, and contender."""
Load = Callable[[Contender, Path, float], Sample]


def _new(contender: Contender, tokens: Path, seconds: float) -> Sample:
    return closed(replace(contender, close=True), tokens, seconds)


def _kept(contender: Contender, tokens: Path, seconds: float) -> Sample:
    return closed(contender.secured, tokens, seconds)


def _full(contender: Contender, tokens: Path, seconds: float) -> Sample:
    return handshakes(contender, "full", seconds)


def _resumed(contender: Contender, tokens: Path, seconds: float) -> Sample:
    return handshakes(contender, "resumed", seconds)


KINDS: Mapping[str, Load] = {
    "new connection": _new,
    "https keep alive": _kept,
    "https full handshake": _full,
    "https resumed": _resumed,
}


def measure(bed: Bed, rounds: Rounds) -> Part:
    """Every kind of connection to every proxy in turn, round by round; the first round warms up."""
    contenders = [bed.gateway.policy_off, *bed.peers(*PEERS.values())]
    samples: dict[Key, list[Sample]] = {}
    for number in range(rounds.count + 1):
        for kind, load in KINDS.items():
            for contender in contenders:
                asked = replace(contender, path=PATH)
                sample = load(asked, bed.tokens, rounds.seconds if number else 1.0)
                tell(number, contender.name, f"{kind} {sample.cpu_us_per_request:,.0f} µs")
                if number:
                    samples.setdefault((kind, contender.name), []).append(sample)
    rows = [sample for found in samples.values() for sample in found]
    errors, waited = sum(row.errors for row in rows), [row.spent.waited for row in rows]
    return Part(figures(samples), table(samples), errors, waited)


def figures(samples: Mapping[Key, Sequence[Sample]]) -> dict[str, float]:
    """CPU a request, theirs over ours (how many times cheaper ours is), and the medians."""
    costs = {key: [sample.cpu_us_per_request for sample in rows] for key, rows in samples.items()}
    found = {}
    for kind in KINDS:
        for short, name in PEERS.items():
            if (kind, name) in costs:
                ratio = paired(costs[kind, name], costs[kind, OURS])
                found[f"{snake(kind)}_cpu_over_{short}"] = ratio
    for (kind, name), values in costs.items():
        found[f"cpu_us_{snake(kind)}_{snake(name)}"] = median(values)
    return found


def table(samples: Mapping[Key, Sequence[Sample]]) -> list[str]:
    """The medians as text."""
    lines = [f"{'':40}{'µs CPU/request':>15}{'requests/s':>12}{'errors':>8}{'CPU busy':>10}"]
    for (kind, name), rows in samples.items():
        cost = median(sample.cpu_us_per_request for sample in rows)
        rate = median(sample.requests_per_second for sample in rows)
        errors, busy = sum(sample.errors for sample in rows), median(sample.spent.busy for sample in rows)
        lines.append(f"{kind:22}{name:18}{cost:>15,.1f}{rate:>12,.0f}{errors:>8}{busy:>10.0%}")
    return lines
