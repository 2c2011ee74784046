"""The fields that a tap shows of a request: no value that may be a secret."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.observe.tap import Filter, Tap, TappedRecorder
from tests.unit.dataplane.observe.exchanges import exchange


def shown(name: str, value: str) -> str:
    """The value of a field as a tap shows it."""
    made = exchange()
    assert made.request is not None
    made.request.fields = [f"\r\n{name}: ".encode(), value.encode()]
    recorder = TappedRecorder(cast(Any, SimpleNamespace(finished=lambda _: None)), ())
    recorder.taps["1"] = tap = Tap(Filter(), 1, made.ended + 10)
    recorder.finished(made)
    ((line,), _) = tap.take()
    return cast(str, json.loads(line)["headers"][name.lower()])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHORIZATION", "Bearer x"),
        ("Cookie", "headgate=x"),
        ("X-Goog-Api-Key", "x"),
        ("Cf-Access-Jwt-Assertion", "x"),
        ("Ocp-Apim-Subscription-Key", "x"),
        ("X-Original-Authorization", "x"),
        ("X-Client_Secret", "x"),
        ("X-Session-Id", "x"),
        ("X-Upstream", "Basic dXNlcjpwYXNz"),
    ],
)
def test_secrets_are_not_shown(name: str, value: str) -> None:
    assert shown(name, value) == "***"


@pytest.mark.parametrize("name", ["Accept", "User-Agent", "X-Tenant", "Content-Type", "X-Request-Id"])
def test_other_fields_are(name: str) -> None:
    assert shown(name, "text/plain") == "text/plain"
