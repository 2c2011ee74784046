"""From samples to figures."""

from __future__ import annotations

import pytest

from controlplane.model.document import read_document
from tests.benchmarks import bulk, report, stack, tables, telemetry, throughput
from tests.benchmarks.figures import Part, joined, paired
from tests.benchmarks.load import Sample, Transfers


def rows(*pairs: tuple[float, float]) -> list[Sample]:
    return [Sample(rate, cost, 1.0, 0) for rate, cost in pairs]


def test_ratios_are_taken_round_by_round() -> None:
    # The machine was half as fast in the second round: neither side gains by it.
    assert paired([200, 100, 220], [100, 50, 100]) == 2.0


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([1.0, 2.0], [1.0])


def test_cpu_ratios_say_how_many_times_cheaper_ours_is() -> None:
    found = throughput.figures({"headgate policy": rows((200, 20)), "envoy policy": rows((100, 50))})
    assert (found["policy_rps_over_envoy"], found["policy_cpu_over_envoy"]) == (2.0, 2.5)
    assert found["rps_headgate_policy"] == 200


def test_a_missing_peer_leaves_its_ratios_out() -> None:
    found = throughput.figures({"headgate policy": rows((200, 20)), "headgate plain": rows((250, 16))})
    assert found["policy_on_over_off"] == 0.8
    assert not [name for name in found if "envoy" in name or "nginx" in name]


def test_a_large_table_and_edits_are_set_against_their_own_side() -> None:
    sides = {name: rows((100, 10)) for name in (tables.SMALL, tables.LARGE, tables.SPREAD, tables.POLICY)}
    found = tables.figures({**sides, tables.HEADERS: rows((95, 11)), tables.FULL: rows((92, 12.5))})
    assert (found["routes_10000_over_10"], found["routes_10000_by_header_over_10"]) == (1.0, 0.95)
    assert (found["policy_with_edits_over_policy"], found["policy_with_edits_over_policy_cpu"]) == (0.92, 0.8)


def test_the_configurations_are_valid() -> None:
    for routes in (stack.FEW, stack.MANY):
        document = stack.configuration(1, 2, routes)
        assert read_document(document).problems == ()
        assert len(document["routes"]) == routes + 6  # type: ignore[arg-type]


def test_large_bodies_without_nginx_are_told_without_a_ratio() -> None:
    ours = [Transfers(1000.0, 4.0, 0)]
    alone = {("download", "headgate policy"): ours, ("upload", "headgate policy"): ours}
    assert "download_10mib_over_nginx" not in bulk.figures(alone)
    both = {**alone, ("download", "nginx plain"): [Transfers(500.0, 10.0, 0)]}
    assert bulk.figures(both)["download_10mib_over_nginx"] == 2.0
    assert bulk.figures(both)["download_10mib_cpu_over_nginx"] == 2.5


def test_the_table_sets_every_figure_against_its_marks() -> None:
    part = Part({"policy_rps_over_envoy": 2.5, "p99_half_load_over_envoy": 1.5})
    printed = report.table([part], {"caddy plain": "caddy is not installed"}).splitlines()
    assert any(line.startswith("caddy plain") and "not installed" in line for line in printed)
    assert [line.split()[-1] for line in printed if "_over_envoy" in line] == ["must", "missed"]


def test_failed_requests_and_waiting_are_told() -> None:
    assert "3 requests failed" in report.table([Part(errors=3)], {})
    assert "provisional" in report.table([Part(waited=[0.2, 0.3, 0.01])], {})
    assert report.warnings([Part(waited=[0.01])]) == []


def test_the_document_names_goals_that_were_not_measured() -> None:
    goals = report.document([Part({"policy_on_over_off": 0.98})], {})["goals"]
    assert isinstance(goals, dict)
    assert goals["policy_on_over_off"]["reached"] == "must"
    assert goals["download_10mib_over_nginx"]["reached"] == "not measured"


def test_parts_that_are_joined_keep_everything() -> None:
    whole = joined([Part({"a": 1.0}, ["x"], 1, [0.1]), Part(), Part({"b": 2.0}, ["y"], 2, [0.2])])
    assert (whole.figures, whole.errors, whole.waited) == ({"a": 1.0, "b": 2.0}, 3, [0.1, 0.2])
    assert whole.lines == ["x", "", "y"]


def test_what_telemetry_costs() -> None:
    samples = {
        telemetry.OFF: rows((50_000, 20.0), (40_000, 20.0)),
        telemetry.HUNDREDTH: rows((49_000, 20.4), (39_200, 20.4)),
        telemetry.ALL: rows((25_000, 40.0), (20_000, 40.0)),
    }
    found = telemetry.figures(samples)
    assert found["telemetry_1_percent_over_off"] == 0.98 and found["telemetry_100_percent_over_off"] == 0.5
    assert found["telemetry_cpu_100_percent_over_off"] == 0.5
