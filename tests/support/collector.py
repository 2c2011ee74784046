"""A collector of OpenTelemetry: the receiving side of OTLP of the official packages, over gRPC and over HTTP.

It keeps what it receives. A test can make it refuse or hang.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

REQUESTS: dict[str, Any] = {
    "traces": traces.ExportTraceServiceRequest,
    "metrics": metrics.ExportMetricsServiceRequest,
    "logs": logs.ExportLogsServiceRequest,
}
RESPONSES: dict[str, Any] = {
    "traces": traces.ExportTraceServiceResponse,
    "metrics": metrics.ExportMetricsServiceResponse,
    "logs": logs.ExportLogsServiceResponse,
}


class Collector:
    """The received messages, by signal, and how the next ones are answered. `with` starts both servers."""

    def __init__(self, certificate: tuple[Path, Path] | None = None, authority: Path | None = None) -> None:
        """With a certificate and its key, both servers speak TLS; with an authority, clients must have a certificate
        of it."""
        self._certificate = certificate
        self._authority = authority
        self.messages: dict[str, list[Any]] = {signal: [] for signal in REQUESTS}
        self.fields: list[dict[str, str]] = []
        """The metadata or header fields of each message."""
        self.refusals: list[int] = []
        """HTTP statuses, or codes of gRPC, of the next answers."""
        self.rejects = 0
        """Items that each message has too many."""
        self.hanging = threading.Event()
        """While set, nothing is answered."""
        self._ended = threading.Event()
        self.port = self.http_port = 0

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(8)
        self._grpc = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
        traces_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._grpc)  # type: ignore[no-untyped-call]
        metrics_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._grpc)  # type: ignore[no-untyped-call]
        logs_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._grpc)  # type: ignore[no-untyped-call]
        self.port = self._listen("127.0.0.1:0")
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.http_port = self._http.server_port
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            if self._authority is not None:
                context.load_verify_locations(self._authority)
                context.verify_mode = ssl.CERT_REQUIRED
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._serving = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._serving.join()
        self._grpc.stop(None).wait()
        self._threads.shutdown()

    def _listen(self, address: str) -> int:
        if self._certificate is None:
            return int(self._grpc.add_insecure_port(address))
        certificate, key = (path.read_bytes() for path in self._certificate)
        authority = self._authority.read_bytes() if self._authority is not None else None
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, authority is not None)
        return int(self._grpc.add_secure_port(address, credentials))

    @property
    def endpoint(self) -> str:
        """Of gRPC."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_endpoint(self) -> str:
        """Of HTTP."""
        return f"http://127.0.0.1:{self.http_port}"

    def spans(self) -> list[Span]:
        """All spans."""
        return [
            span
            for message in self.messages["traces"]
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def records(self) -> list[LogRecord]:
        """All log records."""
        return [
            record
            for message in self.messages["logs"]
            for resource in message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, Metric]:
        """The metrics of the last message, by name."""
        return {
            metric.name: metric
            for message in self.messages["metrics"][-1:]
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def receive(self, signal: str, message: Any, fields: dict[str, str]) -> int:
        """Keep a message; the code of a refusal, or 0."""
        while self.hanging.is_set() and not self._ended.wait(0.02):
            pass
        self.fields.append(fields)
        if self.refusals:
            return self.refusals.pop(0)
        self.messages[signal].append(message)
        return 0

    def response(self, signal: str) -> Any:
        """The answer to a message that was taken."""
        response = RESPONSES[signal]()
        if self.rejects:
            name = {"traces": "spans", "metrics": "data_points", "logs": "log_records"}[signal]
            setattr(response.partial_success, f"rejected_{name}", self.rejects)
            response.partial_success.error_message = "too many"
        return response


def texts(attributes: Iterator[KeyValue] | Any) -> dict[str, str | int | bool | float]:
    """Attributes as a dictionary."""
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> str | int | bool | float:
    kind = value.WhichOneof("value")
    assert kind in ("string_value", "int_value", "bool_value", "double_value")
    found: str | int | bool | float = getattr(value, kind)
    return found


def _answer(collector: Collector, signal: str, request: Any, context: grpc.ServicerContext) -> Any:
    fields = {str(key): str(value) for key, value in context.invocation_metadata()}
    if code := collector.receive(signal, request, fields):
        status = next(each for each in grpc.StatusCode if each.value[0] == code)
        context.abort(status, "refused by the test")
    return collector.response(signal)


class _Traces(traces_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(self._collector, "traces", request, context)


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(self._collector, "metrics", request, context)


class _Logs(logs_grpc.LogsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return _answer(self._collector, "logs", request, context)


def _handler(collector: Collector) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            signal = self.path.rpartition("/")[2]
            fields = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
            status = collector.receive(signal, REQUESTS[signal].FromString(body), fields)
            answer = b"" if status else collector.response(signal).SerializeToString()
            self.send_response(status or 200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    return Handler
