"""The standard variables: what they lead to, and every wrong one told in one message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataplane.__main__ import read_settings
from dataplane.settings import SettingsError, misspelled
from dataplane.supervisor.process import environment
from dataplane.telemetry.options import OFF, Queue, Sampling
from dataplane.telemetry.settings import TelemetryError, load_telemetry
from tests.support.certificates import Authority

SECRET = "Bearer%20s3cr3t-of-the-collector"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    monkeypatch.setattr(os, "environ", dict(variables))


def complaint() -> str:
    with pytest.raises(TelemetryError) as caught:
        load_telemetry()
    return str(caught.value)


def test_nothing_is_exported_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_telemetry()
    assert not found.on and found.sampling is None and not OFF.on
    assert found.spans == found.records == Queue()
    given(monkeypatch, OTEL_SERVICE_NAME="edge", OTEL_TRACES_EXPORTER="otlp")
    assert not load_telemetry().on


def test_an_endpoint_is_that_of_all_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **{ENDPOINT: "http://collector:4318/"})
    found = load_telemetry()
    assert found.traces is not None and found.metrics is not None and found.logs is not None
    assert found.traces.endpoint == "http://collector:4318/v1/traces" and not found.traces.grpc
    assert found.logs.endpoint == "http://collector:4318/v1/logs" and not found.logs.tls
    assert (found.metrics.timeout, found.metrics.gzip, found.metric_interval) == (10.0, False, 60.0)
    assert found.resource == (("service.name", "headgate-dataplane"),)


@pytest.mark.parametrize(
    ("variables", "address", "tls"),
    [
        ({ENDPOINT: "http://collector:4317"}, "collector:4317", False),
        ({ENDPOINT: "https://collector:4317/"}, "collector:4317", True),
        ({ENDPOINT: "http://[::1]:5000", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "[::1]:5000", False),
        ({ENDPOINT: "https://collector", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "collector:4317", True),
        ({ENDPOINT: "collector:4317"}, "collector:4317", True),
        ({ENDPOINT: "collector:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, "collector:4317", False),
    ],
)
def test_grpc(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], address: str, tls: bool) -> None:
    given(monkeypatch, **variables)
    traces = load_telemetry().traces
    assert traces is not None and (traces.endpoint, traces.grpc, traces.tls) == (address, True, tls)


def test_a_variable_of_one_signal_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        **{ENDPOINT: "http://collector:4317"},
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://traces.example.org/in",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="X-Key=a%3Db, tenant = one",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=other",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="2500",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_LOGS_EXPORTER="none",
    )
    found = load_telemetry()
    assert found.traces is not None and found.metrics is not None and found.logs is None
    assert (found.traces.endpoint, found.traces.tls) == ("https://traces.example.org/in", True)
    assert found.traces.headers == (("x-key", "a=b"), ("tenant", "one"))
    assert found.metrics.headers == (("x-key", "other"),) and found.metrics.grpc
    assert found.traces.timeout == 2.5 and found.traces.gzip and found.metrics.gzip


def test_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OTEL_RESOURCE_ATTRIBUTES="service.name=edge,deployment.environment.name=a%20b")
    found = dict(load_telemetry().resource)
    assert found == {"service.name": "edge", "deployment.environment.name": "a b"}
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert dict(load_telemetry().resource)["service.name"] == "mine"


@pytest.mark.parametrize(
    ("sampler", "arg", "expected"),
    [
        ("always_on", None, Sampling(1.0, False)),
        ("always_off", None, Sampling(0.0, False)),
        ("traceidratio", "0.01", Sampling(0.01, False)),
        ("parentbased_always_on", None, Sampling(1.0, True)),
        ("parentbased_always_off", None, Sampling(0.0, True)),
        ("parentbased_traceidratio", "0.25", Sampling(0.25, True)),
        ("parentbased_traceidratio", None, Sampling(1.0, True)),
    ],
)
def test_samplers(monkeypatch: pytest.MonkeyPatch, sampler: str, arg: str | None, expected: Sampling) -> None:
    given(monkeypatch, OTEL_TRACES_SAMPLER=sampler, **({"OTEL_TRACES_SAMPLER_ARG": arg} if arg else {}))
    assert load_telemetry().sampling == expected


def test_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        OTEL_BSP_MAX_QUEUE_SIZE="1000",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="128",
        OTEL_BSP_SCHEDULE_DELAY="500",
        OTEL_BLRP_MAX_QUEUE_SIZE="512",
    )
    found = load_telemetry()
    assert found.spans == Queue(1000, 128, 0.5) and found.records == Queue(size=512)


def test_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OTEL_SDK_DISABLED="true", **{ENDPOINT: "http://collector:4317"})
    assert not load_telemetry().on


def test_every_wrong_variable_is_named_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        OTEL_EXPORTER_OTLP_ENDPOINT="ftp://collector",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json",
        OTEL_EXPORTER_OTLP_LOGS_TIMEOUT="0",
        OTEL_TRACES_SAMPLER="sometimes",
        OTEL_TRACES_SAMPLER_ARG="2",
        OTEL_METRIC_EXPORT_INTERVAL="soon",
        OTEL_RESOURCE_ATTRIBUTES="novalue",
        OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE="/nowhere.pem",
    )
    told = complaint()
    for name in (key for key in os.environ if key.startswith("OTEL_")):
        assert name in told


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({ENDPOINT: "collector:4318"}, "must begin with http:// or https://"),
        ({ENDPOINT: "http://user:pw@collector:4317"}, "without credentials"),
        ({ENDPOINT: "http://collector:99999"}, "must be a URL"),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.1"}, "needs OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, "has no meaning"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a b=c"}, "OTEL_EXPORTER_OTLP_HEADERS: must be"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0Ac"}, "OTEL_EXPORTER_OTLP_HEADERS: must be"),
    ],
)
def test_combinations_that_mean_nothing(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    given(monkeypatch, **variables)
    assert told in complaint()


def test_client_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("client")
    general = {ENDPOINT: "https://collector:4317", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(cert)}
    given(monkeypatch, **general)
    assert "must be set together" in complaint()
    given(monkeypatch, **general, OTEL_EXPORTER_OTLP_CLIENT_KEY=str(key))
    traces = load_telemetry().traces
    assert traces is not None and (traces.cert, traces.key) == (cert, key)


def test_headers_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        **{ENDPOINT: "http://collector:4317"},
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization={SECRET}",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS=f"authorization={SECRET}",
    )
    assert "s3cr3t" not in repr(load_telemetry())
    assert not [name for name in environment(os.environ) if "HEADERS" in name]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", SECRET)
    assert "s3cr3t" not in complaint()


def test_all_settings_are_complained_about_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, WORKERS="x", OTEL_TRACES_SAMPLER="sometimes")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert "WORKERS: " in str(caught.value) and "OTEL_TRACES_SAMPLER: " in str(caught.value)
    given(monkeypatch, DATAPLANE_TOKEN="t" * 16, TRACE_SAMPLING="0.5", OTEL_TRACES_SAMPLER="always_on")
    with pytest.raises(SettingsError, match="must not both be set"):
        read_settings()


def test_a_misspelled_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OTEL_EXPORTER_OTLP_ENDPIONT="http://collector:4317")
    assert list(misspelled()) == [
        f"OTEL_EXPORTER_OTLP_ENDPIONT is not a setting and has no effect: did you mean {ENDPOINT}?"
    ]
