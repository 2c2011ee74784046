"""Rules and queries for Prometheus name only metrics that the planes export."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.dashboard import ROWS, render
from tests.support.reference.metrics import families, name_of

ROOT = Path(__file__).parents[3]
GROUPS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())[
    "groups"
]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
EXPORTED = {name_of(metric): metric for _, metrics, _ in families() for metric in metrics}
QUERIES = {name: query for _, _, queries in families() for name, query in queries.items()}


def metrics_of(expression: str) -> set[str]:
    """The metrics of Headgate that an expression names; without the suffix of a histogram's series."""
    names = re.findall(r"(?<![:\w])headgate_\w+", expression)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_names_what_is_exported(rule: dict[str, Any]) -> None:
    recorded = {each["record"] for each in RULES if "record" in each}
    named = set(re.findall(r"\w+:headgate_\w+(?::\w+)?", rule["expr"]))
    assert named <= recorded
    assert metrics_of(rule["expr"]) <= EXPORTED.keys()
    assert named or metrics_of(rule["expr"])


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Headgate")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "action"}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_compares_no_total_with_single_series(name: str) -> None:
    """A total has no labels, so it matches no series that has some: the query would never find anything."""
    outer = re.sub(r"scalar\((?:[^()]|\([^()]*\))*\)", "scalar", QUERIES[name])
    assert not re.search(r"\b(?:max|min|sum|count)\((?:[^()]|\([^()]*\))*\)\s*[-+*/]", outer)


def test_every_panel_of_the_dashboard_names_what_is_exported() -> None:
    panels = [panel for _, row in ROWS for panel in row]
    assert panels
    for panel in panels:
        for query, _ in panel.queries:
            assert metrics_of(query), query
            assert metrics_of(query) <= EXPORTED.keys()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads(render())["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_what_is_exported(name: str) -> None:
    assert metrics_of(QUERIES[name]) <= EXPORTED.keys()
