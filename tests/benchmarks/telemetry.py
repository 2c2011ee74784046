"""What OpenTelemetry costs: the whole policy without it, with a hundredth of the requests traced, and with all of them.

Each is a data plane of the same control plane. All processes of a node are on the proxies' CPU, so what its supervisor
exports counts, too. The collector is elsewhere, and takes everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.bed import Bed
from tests.benchmarks.figures import Part, paired
from tests.benchmarks.rounds import Rounds
from tests.benchmarks.throughput import Samples, interleave, table, totals

OFF = "headgate policy"
HUNDREDTH, ALL = "headgate traces 1 %", "headgate traces 100 %"
NAMES: Mapping[str, str] = {"1_percent": HUNDREDTH, "100_percent": ALL}


def settings(endpoint: str, ratio: str) -> dict[str, str]:
    """Traces of this share, and metrics, by OTLP."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
        "OTEL_METRIC_EXPORT_INTERVAL": "10000",
    }


def measure(bed: Bed, rounds: Rounds) -> Part:
    """All three in turn, round by round."""
    endpoint = f"http://127.0.0.1:{bed.collector}"
    contenders = [
        bed.gateway.policy_on,
        bed.beside(HUNDREDTH, settings(endpoint, "0.01")),
        bed.beside(ALL, settings(endpoint, "1")),
    ]
    samples = interleave(contenders, bed.tokens, rounds)
    return Part(figures(samples), table(samples), *totals(samples))


def figures(samples: Samples) -> dict[str, float]:
    """Requests per second with telemetry over those without; and CPU per request without over that with it."""
    rates = {name: [sample.requests_per_second for sample in rows] for name, rows in samples.items()}
    costs = {name: [sample.cpu_us_per_request for sample in rows] for name, rows in samples.items()}
    found = {}
    for share, name in NAMES.items():
        found[f"telemetry_{share}_over_off"] = paired(rates[name], rates[OFF])
        found[f"telemetry_cpu_{share}_over_off"] = paired(costs[OFF], costs[name])
    return found
