"""The table of bounds in docs/explanation/http.md has every setting, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataplane.gateway.policy.resources import Retries, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "explanation" / "http.md").read_text()
BOUNDS = PAGE[PAGE.index("## Bounds") :]
ROWS = {
    name: defaults
    for names, defaults in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", BOUNDS, re.MULTILINE)
    for name, defaults in zip(
        re.findall(r"`([\w.]+)`", names), re.split(r"(?<=[a-z]), (?=\d)", defaults), strict=False
    )
}
SETTINGS = (
    *("max_head_bytes", "max_fields", "max_target_bytes", "max_connections", "max_connections_per_address"),
    *("max_requests_per_connection", "handshake_timeout", "head_timeout", "body_timeout"),
    *("keep_alive_timeout", "linger_timeout", "linger_total", "half_close_timeout"),
    *("retry_body_bytes", "pool_idle", "pool_timeout", "pool_age", "write_buffer_bytes"),
)


def first_number(said: str) -> float:
    found = re.search(r"\d[\d,]*(?:\.\d+)?", said)
    assert found is not None, said
    return float(found[0].replace(",", ""))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_the_default_that_the_table_says(name: str) -> None:
    assert first_number(ROWS[name.upper()]) == Settings.model_fields[name].default


def test_every_bound_has_its_row() -> None:
    # The one for framing is no setting, and stands there in words. Stripped names are no bound.
    assert len(SETTINGS) == len(Bounds.__dataclass_fields__) - 2
    assert f"{Bounds().framing:,} bytes beyond eight" in BOUNDS


@pytest.mark.parametrize("name", ["connect", "response", "idle"])
def test_times_of_a_service(name: str) -> None:
    assert first_number(ROWS[f"timeouts.{name}"]) == getattr(Timeouts(), name)


def test_retries() -> None:
    assert "`retries: {attempts: 1, on: [connect], budget: 0.2}`" in PAGE
    assert Retries() == Retries(1, frozenset({"connect"}), 0.2)
    assert Timeouts().total == 0 and "| `timeouts.total`, or `request_timeout` of the route | none |" in PAGE
