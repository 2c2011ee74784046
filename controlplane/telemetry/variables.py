"""The standard variables of OpenTelemetry that say whether, where and how telemetry is exported.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Those of sampling, batches and intervals are read by the
SDK. Time limits are milliseconds, as the specification says and as data planes read them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
SIGNALS: Final = ("traces", "metrics", "logs")
Signal = Literal["traces", "metrics", "logs"]
_GRPC_PORT: Final = 4317
_TIMEOUT: Final = 10_000

VARIABLES: Final[Mapping[str, str]] = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "URL of the collector, such as `http://collector:4317`. Nothing is exported, and no "
    "package of OpenTelemetry is imported, without one. Over HTTP, `/v1/traces` and its like are added.",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "`grpc` or `http/protobuf`. Default: grpc for port 4317, else http/protobuf.",
    "OTEL_EXPORTER_OTLP_HEADERS": "Fields of each message: name=value pairs, percent-encoded, separated by commas. "
    "Never logged.",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "Milliseconds that the collector has for one message (10000).",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "`gzip` or `none` (the default).",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "Authority of the collector's certificate, PEM; without it the system's.",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "Client certificate shown to the collector, PEM.",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": "Its unencrypted private key.",
    "OTEL_SDK_DISABLED": "`true`: export nothing, whatever else is set.",
    "OTEL_TRACES_EXPORTER": "`otlp`, or `none` for no traces.",
    "OTEL_METRICS_EXPORTER": "The same for metrics. Prometheus' endpoint stays.",
    "OTEL_LOGS_EXPORTER": "The same for logs.",
}
"""Those that are read here. Each `OTEL_EXPORTER_OTLP_…` also exists for one signal, and then wins."""


class WrongVariable(Exception):
    """A variable that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes."""

    endpoint: str
    grpc: bool
    headers: Mapping[str, str]
    seconds: float
    gzip: bool
    certificate: Path | None
    client_certificate: Path | None
    client_key: Path | None

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.endpoint.startswith("https://")


def use_env_file(folder: Path) -> None:
    """Take the variables of `.env` that the environment lacks: the SDK reads the environment only.

    An empty variable counts as unset, as the specification says; the SDK would complain.
    """
    for name in [
        name for name, value in os.environ.items() if name.startswith("OTEL_") and not value.strip()
    ]:
        del os.environ[name]
    for name, value in dotenv_values(folder / ".env").items():
        if name.startswith("OTEL_") and value:
            os.environ.setdefault(name, value)


def targets(given: Mapping[str, str]) -> dict[str, Target]:
    """The signals that are exported, and their targets. Raises WrongVariable."""
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    found = {}
    for signal in SIGNALS:
        exporter = given.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() or "otlp"
        if exporter not in ("otlp", "none"):
            raise WrongVariable(f"OTEL_{signal.upper()}_EXPORTER: must be otlp or none")
        if exporter == "otlp" and (target := _target(signal, given)) is not None:
            found[signal] = target
    return found


def _target(signal: str, given: Mapping[str, str]) -> Target | None:
    own = f"{PREFIX}{signal.upper()}_"

    def value(name: str) -> tuple[str, str]:
        """Name and value of the variable of this signal, or of the general one."""
        found = next((one for one in (own, PREFIX) if given.get(one + name, "").strip()), PREFIX)
        return found + name, given.get(found + name, "").strip()

    endpoint, certificate = _endpoint(*value("ENDPOINT")), _file(*value("CERTIFICATE"))
    if endpoint is None:
        return None
    grpc = _is_grpc(*value("PROTOCOL"), endpoint)
    if not grpc and not given.get(own + "ENDPOINT", "").strip():
        endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
    return Target(
        endpoint,
        grpc,
        _headers(*value("HEADERS")),
        _milliseconds(*value("TIMEOUT")) / 1000,
        _compressed(*value("COMPRESSION")),
        certificate,
        _file(*value("CLIENT_CERTIFICATE")),
        _file(*value("CLIENT_KEY")),
    )


def _endpoint(name: str, text: str) -> str | None:
    if not text:
        return None
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment:
        raise WrongVariable(
            f"{name}: must be a URL such as http://collector:4317, without credentials and query"
        )
    return url


def _is_grpc(name: str, text: str, endpoint: str) -> bool:
    if text not in ("", "grpc", "http/protobuf"):
        raise WrongVariable(f"{name}: must be grpc or http/protobuf")
    return text == "grpc" if text else urlsplit(endpoint).port == _GRPC_PORT


def _headers(name: str, text: str) -> dict[str, str]:
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise WrongVariable(f"{name}: must be name=value pairs, separated by commas")
        found[unquote(key.strip()).lower()] = unquote(value.strip())
    return found


def _milliseconds(name: str, text: str) -> int:
    if not text:
        return _TIMEOUT
    if not text.isdecimal() or not 0 < int(text) <= 3_600_000:
        raise WrongVariable(f"{name}: must be a number of milliseconds")
    return int(text)


def _compressed(name: str, text: str) -> bool:
    if text.lower() not in ("", "none", "gzip"):
        raise WrongVariable(f"{name}: must be gzip or none")
    return text.lower() == "gzip"


def _file(name: str, text: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    try:
        path.read_bytes()
    except OSError as error:
        raise WrongVariable(f"{name}: {path}: {error.strerror}") from None
    return path
