"""What OpenTelemetry costs: the whole policy without it, with a hundredth of the requests traced, and with all of them.

Each is a data plane of the same control plane. All processes of a node are on the proxies' CPU, so what its supervisor
exports counts, too. The collector is elsewhere, and takes everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.bed import Bed
from tests.benchmarks.figures import Part, paired
from tests.benchmarks.rounds import Rounds
from tests.benchmarks.throughput import interleave, table, totals

OFF = "headgate policy"
HUNDREDTH, ALL = "headgate traces 1 %", "headgate traces 100 %"
RATIOS: Mapping[str, str] = {"telemetry_1_percent_over_off": HUNDREDTH, "telemetry_100_percent_over_off": ALL}


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
    rates = {name: [sample.requests_per_second for sample in rows] for name, rows in samples.items()}
    figures = {figure: paired(rates[name], rates[OFF]) for figure, name in RATIOS.items()}
    return Part(figures, table(samples), *totals(samples))
