"""The official exporters of OTLP, by gRPC or HTTP, as the variables say."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

from controlplane.telemetry.variables import Target

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter


def spans(target: Target) -> SpanExporter:
    """Of traces."""
    if target.grpc:
        return GrpcSpans(**_grpc(target))
    _quietly_import_requests()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(**_http(target))


def metrics(target: Target) -> MetricExporter:
    """Of metrics."""
    if target.grpc:
        return GrpcMetrics(**_grpc(target))
    _quietly_import_requests()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(**_http(target))


def logs(target: Target) -> LogRecordExporter:
    """Of log records."""
    if target.grpc:
        return GrpcLogs(**_grpc(target))
    _quietly_import_requests()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return OTLPLogExporter(**_http(target))


def _grpc(target: Target) -> dict[str, Any]:
    credentials = None
    if target.secure:
        files = target.certificate, target.client_key, target.client_certificate
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))
    return {
        "endpoint": target.endpoint,
        "insecure": not target.secure,
        "credentials": credentials,
        "headers": tuple(target.headers.items()),
        "timeout": target.seconds,
        "compression": grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression,
    }


def _http(target: Target) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression

    files = {
        "certificate_file": target.certificate,
        "client_key_file": target.client_key,
        "client_certificate_file": target.client_certificate,
    }
    return {
        "endpoint": target.endpoint,
        "headers": dict(target.headers),
        "timeout": target.seconds,
        "compression": Compression.Gzip if target.gzip else Compression.NoCompression,
        **{name: str(path) for name, path in files.items() if path is not None},
    }


def _quietly_import_requests() -> None:
    """Images have no package that guesses the encoding of answers, and `requests` warns about that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import requests  # noqa: F401
