"""The standard variables of OpenTelemetry (`OTEL_…`), as far as a data plane has a use for them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/protocol/exporter/. Times are
milliseconds there, other than in settings of our own. Nothing is exported without an endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from dataplane.setting_checks import mismatched
from dataplane.setting_types import Certificates, KeyFile, wrong
from dataplane.telemetry.options import SIGNALS, Queue, Sampling, Target, Telemetry

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_GRPC_PORT: Final = 4317
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RATIOS: Final = {"always_on": 1.0, "always_off": 0.0}


class TelemetryError(Exception):
    """Variables that cannot be used; the message names every wrong one."""


def _endpoint(value: str) -> str:
    parts = urlsplit(value if "://" in value else f"//{value}")
    try:
        valid = bool(parts.hostname) and parts.scheme in ("", "http", "https") and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.username is not None or parts.query or parts.fragment:
        raise wrong("must be a URL such as http://collector:4317, without credentials and query")
    return value


def _pairs(value: str) -> tuple[tuple[str, str], ...]:
    """name=value pairs, separated by commas, as in W3C Baggage: values are percent-encoded."""
    found = []
    for pair in filter(None, map(str.strip, value.split(","))):
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise wrong("must be name=value pairs, separated by commas")
        found.append((unquote(name.strip()), unquote(text.strip())))
    return tuple(found)


def _headers(value: SecretStr) -> SecretStr:
    for name, text in _pairs(value.get_secret_value()):
        if not _HEADER.fullmatch(name) or not text.isascii() or not text.isprintable():
            raise wrong("must be name=value pairs of HTTP fields, percent-encoded, separated by commas")
    return value


def _attributes(value: str) -> str:
    _pairs(value)
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Endpoint = Annotated[str, AfterValidator(_endpoint)]
Headers = Annotated[SecretStr, AfterValidator(_headers)]
Pairs = Annotated[str, AfterValidator(_attributes)]
Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
Exporter = Annotated[Literal["otlp", "none"], BeforeValidator(_lower)]


class _Variables(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )


class Otlp(_Variables):
    """`OTEL_EXPORTER_OTLP_…`. Each variable also exists for one signal, for instance
    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and then wins over the general one."""

    endpoint: Endpoint | None = None
    """URL of the collector; nothing is exported without one. Over HTTP, `/v1/traces` and its like are added, but not to
    the endpoint of one signal."""
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """`grpc` or `http/protobuf`. Default: grpc for port 4317, else http/protobuf."""
    headers: Headers | None = None
    """Fields of each message, such as `authorization=Bearer%20TOKEN`: name=value pairs, percent-encoded, separated by
    commas. Never logged."""
    timeout: Milliseconds | None = None
    """Milliseconds that the collector has for one message (10000)."""
    compression: Annotated[Literal["gzip", "none"], BeforeValidator(_lower)] | None = None
    """`gzip` or `none` (the default)."""
    certificate: Certificates | None = None
    """Authority of the collector's certificate, PEM; without it the system's."""
    client_certificate: Certificates | None = None
    """Client certificate shown to the collector, PEM."""
    client_key: KeyFile | None = None
    """Its unencrypted private key."""
    insecure: bool | None = None
    """Of an endpoint for gRPC without http:// or https://: without TLS."""


class Otel(_Variables):
    """`OTEL_…`"""

    model_config = SettingsConfigDict(**{**_Variables.model_config, "env_prefix": "OTEL_"})

    sdk_disabled: bool = False
    """Export nothing, whatever else is set."""
    service_name: str = "headgate-dataplane"
    """`service.name` of the resource."""
    resource_attributes: Pairs = ""
    """Further attributes of the resource: name=value pairs, percent-encoded, separated by commas."""
    traces_exporter: Exporter = "otlp"
    """`otlp`, or `none` for no traces."""
    metrics_exporter: Exporter = "otlp"
    """The same for metrics. Prometheus' endpoint stays."""
    logs_exporter: Exporter = "otlp"
    """The same for logs: the log of the service and, with ACCESS_LOG_OTLP, the access log."""
    traces_sampler: (
        Literal[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ]
        | None
    ) = None
    """Head sampler, in place of TRACE_SAMPLING. Only trusted traceparents count as parents (TRACE_CLIENT_SAMPLING)."""
    traces_sampler_arg: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Ratio of the samplers traceidratio and parentbased_traceidratio, 0 to 1 (1)."""
    metric_export_interval: Milliseconds = 60_000
    """Milliseconds between two messages of metrics."""
    bsp_max_queue_size: Annotated[int, Field(ge=512, le=1_000_000)] = 32_768
    """Spans that may wait for the collector; more are dropped and counted."""
    bsp_max_export_batch_size: Annotated[int, Field(ge=128, le=100_000)] = 2048
    """Most spans in one message."""
    bsp_schedule_delay: Milliseconds = 1000
    """Milliseconds after which a message with fewer spans is sent."""
    blrp_max_queue_size: Annotated[int, Field(ge=512, le=1_000_000)] = 32_768
    """Log records that may wait for the collector; more are dropped and counted."""
    blrp_max_export_batch_size: Annotated[int, Field(ge=128, le=100_000)] = 2048
    """Most log records in one message."""
    blrp_schedule_delay: Milliseconds = 1000
    """Milliseconds after which a message with fewer log records is sent."""


def load_telemetry(trace_sampling_given: bool = False) -> Telemetry:
    """Read the variables. TelemetryError names every wrong one. `trace_sampling_given`: TRACE_SAMPLING is set, too."""
    problems: list[str] = []
    otel = _read(Otel, "OTEL_", problems)
    general = _read(Otlp, PREFIX, problems)
    single = {signal: _read(Otlp, f"{PREFIX}{signal.upper()}_", problems) for signal in SIGNALS}
    if problems or otel is None or general is None:
        raise TelemetryError("; ".join(problems))
    targets = {}
    for signal, own in single.items():
        assert own is not None
        exported = not otel.sdk_disabled and getattr(otel, f"{signal}_exporter") == "otlp"
        if exported and (own.endpoint or general.endpoint):
            targets[signal] = _target(signal, general, own, problems)
    sampling = _sampling(otel, trace_sampling_given, problems)
    if problems:
        raise TelemetryError("; ".join(dict.fromkeys(problems)))
    return Telemetry(
        **targets,
        resource=_resource(otel),
        sampling=sampling,
        spans=Queue(otel.bsp_max_queue_size, otel.bsp_max_export_batch_size, otel.bsp_schedule_delay / 1000),
        records=Queue(
            otel.blrp_max_queue_size, otel.blrp_max_export_batch_size, otel.blrp_schedule_delay / 1000
        ),
        metric_interval=otel.metric_export_interval / 1000,
    )


def names() -> Iterator[str]:
    """Every variable."""
    yield from (f"OTEL_{name}".upper() for name in Otel.model_fields)
    for signal in ("", *(f"{signal}_" for signal in SIGNALS)):
        yield from (f"{PREFIX}{signal}{name}".upper() for name in Otlp.model_fields)


def secret_names() -> Iterator[str]:
    """The variables that hold secrets."""
    return (name for name in names() if name.endswith("_HEADERS"))


def _read(kind: Any, prefix: str, problems: list[str]) -> Any:
    try:
        return kind(_env_prefix=prefix)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            problems.append(f"{prefix}{str(problem['loc'][0]).upper()}: {problem['msg']}")
    except (SourceError, UnicodeDecodeError) as error:
        problems.append(f"environment or .env: {error}")
    return None


def _target(signal: str, general: Otlp, own: Otlp, problems: list[str]) -> Target:
    def chosen(name: str) -> Any:
        value = getattr(own, name)
        return getattr(general, name) if value is None else value

    endpoint = own.endpoint or general.endpoint or ""
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    protocol = chosen("protocol") or ("grpc" if parts.port == _GRPC_PORT else "http/protobuf")
    grpc = protocol == "grpc"
    variable = f"{PREFIX}{signal.upper()}_ENDPOINT" if own.endpoint else f"{PREFIX}ENDPOINT"
    if not parts.scheme and not grpc:
        problems.append(f"{variable}: must begin with http:// or https:// for http/protobuf")
    headers = chosen("headers")
    cert, key = chosen("client_certificate"), chosen("client_key")
    if (cert is None) != (key is None):
        problems.append(f"{PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY must be set together")
    problems += mismatched(f"{PREFIX}CLIENT_KEY", cert, key)
    return Target(
        _grpc_address(parts) if grpc else _http_url(endpoint, signal, bool(own.endpoint)),
        grpc,
        parts.scheme == "https" or (not parts.scheme and not chosen("insecure")),
        tuple((name.lower(), text) for name, text in _pairs(headers.get_secret_value())) if headers else (),
        (chosen("timeout") or 10_000) / 1000,
        chosen("compression") == "gzip",
        *map(_absolute, (chosen("certificate"), cert, key)),
    )


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None else None


def _grpc_address(parts: Any) -> str:
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _GRPC_PORT}"


def _http_url(endpoint: str, signal: str, own: bool) -> str:
    return endpoint if own else f"{endpoint.rstrip('/')}/v1/{signal}"


def _resource(otel: Otel) -> tuple[tuple[str, str], ...]:
    attributes: Mapping[str, str] = dict(_pairs(otel.resource_attributes))
    named = "service_name" in otel.model_fields_set or "service.name" not in attributes
    return tuple({**attributes, **({"service.name": otel.service_name} if named else {})}.items())


def _sampling(otel: Otel, trace_sampling_given: bool, problems: list[str]) -> Sampling | None:
    name, ratio = otel.traces_sampler, otel.traces_sampler_arg
    if name is None:
        if ratio is not None:
            problems.append("OTEL_TRACES_SAMPLER_ARG needs OTEL_TRACES_SAMPLER")
        return None
    if trace_sampling_given:
        problems.append("TRACE_SAMPLING and OTEL_TRACES_SAMPLER must not both be set")
    sampler = name.removeprefix("parentbased_")
    if ratio is not None and sampler != "traceidratio":
        problems.append(f"OTEL_TRACES_SAMPLER_ARG has no meaning for {name}")
    share = _RATIOS.get(sampler, 1.0 if ratio is None else ratio)
    return Sampling(share, name.startswith("parentbased_"))
