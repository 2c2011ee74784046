"""The standard variables: where each signal goes, and one line for what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.telemetry.variables import PREFIX, WrongVariable, targets, use_env_file

COLLECTOR = {f"{PREFIX}ENDPOINT": "http://collector:4317"}


@pytest.mark.parametrize(
    "given", [{}, {f"{PREFIX}ENDPOINT": " "}, {**COLLECTOR, "OTEL_SDK_DISABLED": "True"}]
)
def test_nothing_is_exported_without_an_endpoint(given: dict[str, str]) -> None:
    assert targets(given) == {}


def test_the_protocol_follows_the_port() -> None:
    assert targets(COLLECTOR)["traces"].grpc
    over_http = targets({f"{PREFIX}ENDPOINT": "http://collector:4318/"})
    assert {signal: one.endpoint for signal, one in over_http.items()} == {
        signal: f"http://collector:4318/v1/{signal}" for signal in ("traces", "metrics", "logs")
    }
    assert not targets({**COLLECTOR, f"{PREFIX}PROTOCOL": "http/protobuf"})["logs"].grpc


def test_a_signal_has_variables_of_its_own() -> None:
    found = targets(
        {
            **COLLECTOR,
            "OTEL_LOGS_EXPORTER": "none",
            f"{PREFIX}METRICS_ENDPOINT": "https://metrics.example.org/own",
            f"{PREFIX}METRICS_HEADERS": "Authorization=Bearer%20key, x-tenant=1",
            f"{PREFIX}TIMEOUT": "2500",
            f"{PREFIX}COMPRESSION": "gzip",
        }
    )
    assert found.keys() == {"traces", "metrics"}
    metrics = found["metrics"]
    assert (metrics.endpoint, metrics.secure) == ("https://metrics.example.org/own", True)
    assert metrics.headers == {"authorization": "Bearer key", "x-tenant": "1"}
    assert (metrics.seconds, metrics.gzip, found["traces"].headers) == (2.5, True, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT", "ftp://collector"),
        ("ENDPOINT", "http://user:secret@collector"),
        ("ENDPOINT", "http://collector:0"),
        ("PROTOCOL", "http/json"),
        ("HEADERS", "nothing"),
        ("TIMEOUT", "soon"),
        ("COMPRESSION", "zip"),
        ("CERTIFICATE", "/nowhere.pem"),
    ],
)
def test_a_wrong_value_is_named_without_repeating_it(name: str, value: str) -> None:
    with pytest.raises(WrongVariable, match=f"^{PREFIX}{name}: ") as caught:
        targets({**COLLECTOR, PREFIX + name: value})
    assert "secret" not in str(caught.value)


def test_exporters_of_others_are_refused() -> None:
    with pytest.raises(WrongVariable, match="OTEL_TRACES_EXPORTER"):
        targets({**COLLECTOR, "OTEL_TRACES_EXPORTER": "zipkin"})


def test_the_env_file_fills_what_the_environment_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=file\nOTEL_TRACES_SAMPLER=always_off\nSECRET=x\n")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "environment")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", " ")
    # Set for the test's end to remove it.
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "")
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    use_env_file(tmp_path)
    assert (os.environ["OTEL_SERVICE_NAME"], os.environ["OTEL_TRACES_SAMPLER"]) == (
        "environment",
        "always_off",
    )
    assert not {"SECRET", "OTEL_BSP_SCHEDULE_DELAY"} & set(os.environ)
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
