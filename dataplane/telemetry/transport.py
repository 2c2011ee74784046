"""Sends messages to a collector: OTLP over gRPC, or over HTTP with protobuf. Blocks: for a thread of its own.

https://opentelemetry.io/docs/specs/otlp/ says which failures may be tried again.
"""

from __future__ import annotations

import gzip
import http.client
import ssl
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from dataplane.telemetry.options import Target

METHODS: Final = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_RESPONSES: Final[dict[str, Any]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
_AGAIN_HTTP: Final = frozenset({429, 502, 503, 504})
_MOST_ANSWER: Final = 64 * 1024
_OTHER_PROTOCOL: Final = "the collector seems to speak {} at this port (OTEL_EXPORTER_OTLP_PROTOCOL={}): "
_NOT_HTTP2: Final = "Expected SETTINGS frame"
"""Of gRPC's reason when the answer is not HTTP/2."""


class NotSent(Exception):
    """The collector has not taken the message. `again`: it may later, not before `wait` seconds."""

    def __init__(self, reason: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


class Transport(Protocol):
    """The way to one collector, for one signal."""

    def send(self, message: bytes) -> tuple[int, str]:
        """Send it, once. Returns how many of its items the collector has rejected, and why. Raises NotSent."""

    def close(self) -> None:
        """Close the connection."""


def connect(signal: str, target: Target) -> Transport:
    """The transport of a signal. Connects when something is sent. Raises OSError for files that cannot be read."""
    return OverGrpc(signal, target) if target.grpc else OverHttp(signal, target)


class OverGrpc:
    """OTLP over gRPC."""

    def __init__(self, signal: str, target: Target) -> None:
        self._response = _RESPONSES[signal]
        self._timeout = target.timeout
        self._headers = target.headers
        compression = grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression
        if target.tls:
            credentials = grpc.ssl_channel_credentials(
                _content(target.ca), _content(target.key), _content(target.cert)
            )
            self._channel = grpc.secure_channel(target.endpoint, credentials, compression=compression)
        else:
            self._channel = grpc.insecure_channel(target.endpoint, compression=compression)
        # The message is bytes already; the generated stub would want an object.
        self._export = self._channel.unary_unary(METHODS[signal], None, None)

    def send(self, message: bytes) -> tuple[int, str]:
        """Send it, once."""
        try:
            answer = self._export(message, timeout=self._timeout, metadata=self._headers)
        except grpc.RpcError as error:
            code = error.code()
            details = (error.details() or "")[:200]
            # What answers the first bytes of HTTP/2 in the words of HTTP/1.1.
            hint = _OTHER_PROTOCOL.format("HTTP", "http/protobuf") if _NOT_HTTP2 in details else ""
            raise NotSent(f"{hint}{code.name}: {details}", again=code in _AGAIN) from None
        return _rejected(self._response, answer)

    def close(self) -> None:
        """Close the channel; a call in progress ends."""
        self._channel.close()


class OverHttp:
    """OTLP over HTTP, as protobuf, on one connection that is kept."""

    def __init__(self, signal: str, target: Target) -> None:
        self._response = _RESPONSES[signal]
        parts = urlsplit(target.endpoint)
        self._path = parts.path or "/"
        self._gzip = target.gzip
        fields = {"content-type": "application/x-protobuf", "user-agent": "OTel-OTLP-Exporter-Headgate"}
        self._headers = {**fields, **dict(target.headers)}
        if target.gzip:
            self._headers["content-encoding"] = "gzip"
        host, port = parts.hostname or "", parts.port
        # Without the path: with some collectors, a key is part of it.
        self._place = parts.netloc
        self._twice = parts.path.endswith(f"/v1/{signal}/v1/{signal}")
        self._connection: http.client.HTTPConnection
        if target.tls:
            context = ssl.create_default_context(cafile=str(target.ca) if target.ca else None)
            if target.cert is not None and target.key is not None:
                context.load_cert_chain(target.cert, target.key)
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=target.timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=target.timeout)

    def send(self, message: bytes) -> tuple[int, str]:
        """Send it, once."""
        body = gzip.compress(message, 1, mtime=0) if self._gzip else message
        kept = self._connection.sock is not None
        try:
            try:
                status, wait, answer = self._post(body)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The collector may close a connection that has been idle just when it is used again.
                if not kept:
                    raise
                self._connection.close()
                status, wait, answer = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise NotSent(f"{self._place}: {_words(error)}", again=True) from None
        if status // 100 != 2:
            twice = ": the endpoint ends with the path that is added to it" if self._twice else ""
            reason = f"{self._place}: HTTP status {status}{twice}"
            raise NotSent(reason, again=status in _AGAIN_HTTP, wait=wait)
        return _rejected(self._response, answer)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        """The status, Retry-After in seconds, and the body of the answer."""
        self._connection.request("POST", self._path, body, self._headers)
        with self._connection.getresponse() as response:
            answer = response.read(_MOST_ANSWER)
            if not response.isclosed():
                # More than anything that a collector has to say: the rest would stand before the next answer.
                self._connection.close()
            wait = response.headers.get("retry-after", "")
            return response.status, float(wait) if wait.isascii() and wait.isdigit() else 0.0, answer


def _words(error: Exception) -> str:
    """The reason why no answer came; a collector that speaks another protocol answers with anything."""
    text = str(error)[:200]
    if isinstance(error, http.client.BadStatusLine) and text.startswith("\0"):
        # The length of a frame of HTTP/2.
        return f"{_OTHER_PROTOCOL.format('gRPC', 'grpc')}no answer in HTTP/1.1"
    return f"{type(error).__name__}: {text if text.isprintable() else ascii(text)}"


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _rejected(kind: Any, answer: bytes) -> tuple[int, str]:
    """What a partial success says. An answer that cannot be read counts as a success: the message has arrived."""
    try:
        partial = kind.FromString(answer).partial_success
    except Exception:
        return 0, ""
    counted = [value for field, value in partial.ListFields() if field.name.startswith("rejected_")]
    return (int(counted[0]) if counted else 0), str(partial.error_message)[:200]
