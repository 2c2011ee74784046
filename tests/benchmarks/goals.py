"""What the figures are to reach. Names are stable: programs read them from build/bench.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure's two marks."""

    must: float
    aim: float
    unit: str = "×"
    less_is_better: bool = False

    def verdict(self, value: float) -> str:
        """The better mark that is reached: "aim", "must" or "missed"."""
        for name, mark in (("aim", self.aim), ("must", self.must)):
            if value <= mark if self.less_is_better else value >= mark:
                return name
        return "missed"


def missed(figures: Mapping[str, float]) -> list[str]:
    """Names of the figures that do not reach what they must."""
    return [
        name for name, goal in GOALS.items() if name in figures and goal.verdict(figures[name]) == "missed"
    ]


GOALS: Mapping[str, Goal] = {
    "policy_rps_over_envoy": Goal(2.0, 2.8),
    "policy_cpu_over_envoy": Goal(2.0, 2.8),
    "policy_rps_over_nginx_plain": Goal(0.95, 1.05),
    "policy_cpu_over_nginx_plain": Goal(0.75, 1.0),
    "policy_on_over_off": Goal(0.97, 0.99),
    "telemetry_1_percent_over_off": Goal(0.93, 0.98),
    "telemetry_100_percent_over_off": Goal(0.4, 0.6),
    "policy_rps_new_heads_over_envoy": Goal(2.0, 2.6),
    "new_connection_cpu_over_nginx": Goal(0.6, 0.8),
    "https_keep_alive_cpu_over_nginx": Goal(0.75, 0.9),
    "https_keep_alive_cpu_over_envoy": Goal(2.0, 2.5),
    "https_full_handshake_cpu_over_nginx": Goal(0.6, 0.85),
    "https_full_handshake_cpu_over_envoy": Goal(0.6, 0.9),
    "https_resumed_cpu_over_nginx": Goal(0.6, 0.9),
    "https_resumed_cpu_over_envoy": Goal(0.6, 0.9),
    "p99_half_load_over_envoy": Goal(1.0, 0.5, less_is_better=True),
    "download_10mib_over_nginx": Goal(1.3, 1.8),
    "upload_10mib_over_nginx": Goal(1.3, 1.8),
    "routes_10000_over_10": Goal(0.97, 1.0),
    "routes_10000_by_header_over_10": Goal(0.95, 1.0),
    "policy_with_edits_over_policy": Goal(0.92, 0.97),
    "change_pause_ms_10000": Goal(5.0, 1.0, "ms", less_is_better=True),
    "limits_rps_fleet_over_local": Goal(0.95, 0.99),
    "limits_rps_redis_over_local": Goal(0.35, 0.6),
    "limits_over_admission_10s": Goal(0.0, 0.0, "", less_is_better=True),
    "limits_utilisation_even": Goal(0.95, 0.99, ""),
    "limits_utilisation_skewed": Goal(0.90, 0.97, ""),
    "limits_redis_added_p99_ms": Goal(2.0, 0.7, "ms", less_is_better=True),
    "limits_worker_mib_1000000_keys": Goal(200.0, 120.0, "MiB", less_is_better=True),
}
