"""Messages arrive at a real receiver, over gRPC and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dataplane.telemetry.options import Target
from dataplane.telemetry.transport import NotSent, connect
from demo.ports import free_port
from tests.support.certificates import Authority
from tests.support.collector import Collector

MESSAGE = ExportTraceServiceRequest()
MESSAGE.resource_spans.add().scope_spans.add().spans.add(name="one")
UNAVAILABLE, INVALID = 14, 3


@pytest.fixture(scope="module")
def running() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def collector(running: Collector) -> Iterator[Collector]:
    running.messages["traces"].clear()
    running.fields.clear()
    yield running
    running.refusals.clear()
    running.rejects = 0
    running.hanging.clear()


def target(collector: Collector, grpc: bool, *, gzip: bool = False, timeout: float = 10.0) -> Target:
    endpoint = f"127.0.0.1:{collector.port}" if grpc else f"{collector.http_endpoint}/v1/traces"
    return Target(endpoint, grpc, False, (("x-key", "secret"),), timeout, gzip)


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("grpc", [True, False])
def test_a_message_arrives_with_its_fields(collector: Collector, grpc: bool, gzip: bool) -> None:
    with closing(connect("traces", target(collector, grpc, gzip=gzip))) as transport:
        assert transport.send(MESSAGE.SerializeToString()) == (0, "")
        assert transport.send(MESSAGE.SerializeToString()) == (0, "")
    assert collector.messages["traces"] == [MESSAGE, MESSAGE]
    assert collector.fields[0]["x-key"] == "secret"
    if not grpc:
        assert collector.fields[0][":path"] == "/v1/traces"
        assert collector.fields[0]["content-type"] == "application/x-protobuf"
        assert (collector.fields[0].get("content-encoding") == "gzip") is gzip


@pytest.mark.parametrize("grpc", [True, False])
def test_a_collector_may_reject_a_part(collector: Collector, grpc: bool) -> None:
    collector.rejects = 3
    with closing(connect("traces", target(collector, grpc))) as transport:
        assert transport.send(MESSAGE.SerializeToString()) == (3, "too many")


@pytest.mark.parametrize(
    ("grpc", "refusal", "again"),
    [
        (True, UNAVAILABLE, True),
        (True, INVALID, False),
        (False, 503, True),
        (False, 429, True),
        (False, 400, False),
    ],
)
def test_a_refusal(collector: Collector, grpc: bool, refusal: int, again: bool) -> None:
    collector.refusals.append(refusal)
    with closing(connect("traces", target(collector, grpc))) as transport:
        with pytest.raises(NotSent) as caught:
            transport.send(MESSAGE.SerializeToString())
        assert caught.value.again is again and "secret" not in str(caught.value)
        assert transport.send(MESSAGE.SerializeToString()) == (0, "")


@pytest.mark.parametrize("grpc", [True, False])
def test_the_other_protocol_is_named(collector: Collector, grpc: bool) -> None:
    """The most frequent mistake: the port of one protocol, and the other one in the settings."""
    where = f"127.0.0.1:{collector.http_port}" if grpc else f"http://127.0.0.1:{collector.port}/v1/traces"
    other = Target(where, grpc, False, timeout=5.0)
    with closing(connect("traces", other)) as transport, pytest.raises(NotSent) as caught:
        transport.send(MESSAGE.SerializeToString())
    right = "http/protobuf" if grpc else "grpc"
    assert f"OTEL_EXPORTER_OTLP_PROTOCOL={right}" in str(caught.value) and str(caught.value).isprintable()


def test_a_refusal_over_http_names_the_collector_and_not_its_path(collector: Collector) -> None:
    collector.refusals.extend([404, 404])
    for path, twice in (("/KEY/v1/traces", False), ("/KEY/v1/traces/v1/traces", True)):
        where = Target(f"{collector.http_endpoint}{path}", False, False)
        with closing(connect("traces", where)) as transport, pytest.raises(NotSent) as caught:
            transport.send(MESSAGE.SerializeToString())
        said = str(caught.value)
        assert said.startswith(f"127.0.0.1:{collector.http_port}: HTTP status 404") and "KEY" not in said
        assert ("path that is added" in said) is twice


@pytest.mark.parametrize("grpc", [True, False])
def test_a_collector_that_hangs(collector: Collector, grpc: bool) -> None:
    collector.hanging.set()
    with closing(connect("traces", target(collector, grpc, timeout=0.2))) as transport:
        with pytest.raises(NotSent) as caught:
            transport.send(MESSAGE.SerializeToString())
        assert caught.value.again
        collector.hanging.clear()


@pytest.mark.parametrize("grpc", [True, False])
def test_a_collector_that_is_away(grpc: bool) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    where = endpoint if grpc else f"http://{endpoint}/v1/traces"
    with closing(connect("traces", Target(where, grpc, False, timeout=1.0))) as transport:
        with pytest.raises(NotSent) as caught:
            transport.send(MESSAGE.SerializeToString())
        assert caught.value.again and endpoint in str(caught.value)


@pytest.mark.parametrize("grpc", [True, False])
def test_tls_on_both_sides(tmp_path: Path, grpc: bool) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client")
    with Collector(authority.issue("collector"), authority.certificate) as collector:
        endpoint = f"127.0.0.1:{collector.port}"
        where = endpoint if grpc else f"https://127.0.0.1:{collector.http_port}/v1/traces"
        secured = Target(where, grpc, True, ca=authority.certificate, cert=certificate, key=key)
        with closing(connect("traces", secured)) as transport:
            assert transport.send(MESSAGE.SerializeToString()) == (0, "")
        other = replace(secured, ca=Authority(tmp_path / "other").certificate, timeout=2.0)
        with closing(connect("traces", other)) as transport, pytest.raises(NotSent):
            transport.send(MESSAGE.SerializeToString())
        assert collector.messages["traces"] == [MESSAGE]
