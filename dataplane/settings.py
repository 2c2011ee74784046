"""Settings of the data plane, from the environment or `.env`: typed, and frozen after the start.

`load()` raises SettingsError with one line that names every wrong variable, so that one start shows all of them. No
secret has a default.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from dataplane.certificates import NodeCertificates, read_certificates
from dataplane.options import AccessLogOptions
from dataplane.proxy.bounds import Bounds
from dataplane.redis.options import RedisOptions, read_url
from dataplane.setting_checks import incomplete, mismatched, shared, unreadable
from dataplane.setting_types import (
    Address,
    Addresses,
    Certificates,
    Duration,
    FieldNames,
    Folders,
    KeyFile,
    KeyPrefix,
    LogFields,
    LogFile,
    LogFormat,
    Networks,
    NodeName,
    Places,
    RedisHost,
    RedisUrl,
    SecretNames,
    Token,
    TokenFile,
    split_address,
)
from dataplane.telemetry.settings import names as telemetry_names
from headgate_api.bounds import MOST_ROUTES


class SettingsError(Exception):
    """Settings that cannot be used; the message names every wrong variable in one line."""


DEFAULTS = Bounds()


class Settings(BaseSettings):
    """One field for every variable, by its name in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    listen: Address = "0.0.0.0:8000"
    """Traffic."""
    tls_listen: Address | None = None
    """Traffic over TLS, with TLS_CERTS; off by default."""
    tls_certs: Places = ()
    """Comma separated certificate:key files (PEM, the whole chain), or folders with NAME.crt or NAME.pem beside
    NAME.key. Selected by the client's server name (SNI); the first is the default. Read again on SIGHUP and when
    they change."""
    upstream_cert: Path | None = None
    """Client certificate presented to instances that ask for one, PEM; with UPSTREAM_KEY. Read again like TLS_CERTS."""
    upstream_key: Path | None = None
    """Its unencrypted private key."""
    certificate_dir: Path | None = None
    """Folder below which certificates of the configuration may name files (`files`), which are read again on SIGHUP and
    when they change. Nothing outside it is read, whatever links in it lead to. Without it, such a configuration is
    rejected."""
    status_listen: Address = "127.0.0.1:8001"
    """Health, readiness, metrics and the applied configuration of this node, without authentication."""
    node: NodeName | None = None
    """Name of this data plane, unique in the fleet. Default: host name and traffic port."""

    controlplane: Addresses = ("127.0.0.1:50051",)
    """Comma separated gRPC addresses of control planes; any of them will do. A name with several addresses stands for
    that many control planes."""
    dataplane_token: Token | None = None
    """Bearer token that authenticates data planes to control planes; at least 16 characters. Without it and without a
    file, CONTROLPLANE_CERT is required."""
    dataplane_token_file: TokenFile | None = None
    """File with this token in its first line that is neither empty nor a comment (#); read again for every
    connection."""
    controlplane_ca: Certificates | None = None
    """Authority of the control planes' certificates; without it the connection is not encrypted."""
    controlplane_cert: Certificates | None = None
    """Client certificate presented to control planes, PEM; with CONTROLPLANE_KEY."""
    controlplane_key: KeyFile | None = None
    """Its unencrypted private key."""

    cache_dir: Path = Path(".headgate/cache")
    """Folder for the last good configuration, in a subfolder named after the node."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve traffic. They share the rate limits of this data plane, and divide small ones
    (docs/explanation/limits.md)."""
    worker_timeout: Annotated[float, Field(ge=3, le=3600, allow_inf_nan=False)] = 5.0
    """Seconds of silence after which a worker is killed and replaced. Workers report every second."""
    max_routes: Annotated[int, Field(ge=1, le=1_000_000)] = MOST_ROUTES
    """A configuration with more routes is rejected. Set it as on the control planes, which refuse changes that lead
    there."""
    drain_timeout: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 30.0
    """Seconds after SIGTERM in which requests in flight may finish."""
    trusted_proxies: Networks = ()
    """Comma separated networks whose X-Forwarded-For is trusted."""
    register_allow: Networks = ()
    """Comma separated loopback, link-local, multicast or reserved networks that host names of instances may resolve to.
    Set it as on the control planes, which check instances registered by address."""
    register_deny: Networks = ()
    """Comma separated networks that host names of instances must not resolve to. Set it as on the control planes."""
    unix_sockets: Folders = ()
    """Comma separated folders in which instances may listen on Unix sockets (unix:/path), also below them. Without it,
    such instances are unhealthy. Set it as on the control planes, if services register such instances."""
    strip_request_headers: FieldNames = ()
    """Comma separated names of request fields that are not forwarded, in addition to those that identify the client
    (docs/explanation/security.md). A name that ends with * is a prefix."""
    send_via: bool = True
    """Add to the Via field of forwarded requests, as RFC 9110 asks of a gateway. Set false for instances that do not
    compress responses to requests with a Via, as nginx by default."""
    proxy_protocol_from: Networks = ()
    """Comma separated networks whose connections must begin with a PROXY header, version 1 or 2. The address in it is
    used as the client's; from other networks such a header is a malformed request."""
    expose_metrics: bool = False
    """Answer GET /metrics on the traffic port too."""
    access_log: bool = True
    """One line for each request, on stdout or in ACCESS_LOG_FILE."""
    access_log_file: LogFile | None = None
    """File that the access log is appended to. SIGUSR1 opens it again, for log rotation. Default: stdout."""
    access_log_format: LogFormat = "json"
    """`json`, `combined` (that of Apache and nginx), or a text with fields in braces, such as
    `{client} "{method} {path}" {status}`; `{header:NAME}` is any field of the request."""
    access_log_fields: LogFields = ()
    """Fields of a line of format `json`, separated by commas, such as `time,path,status,header:x-tenant`. Default: all
    that do not have to be chosen."""
    access_log_sampling: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of good requests that are logged. Refused, failed and retried ones always are."""
    access_log_redact: SecretNames = ()
    """Headers and query parameters whose values are shown as `***` in the access log and by `headgate tap`, besides the
    usual names of credentials, separated by commas."""
    access_log_otlp: bool = True
    """Where logs go to a collector (OTEL_EXPORTER_OTLP_ENDPOINT), send it the access log, too; with ACCESS_LOG=false,
    only there."""
    trace_sampling: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of the traces started here (W3C traceparent) that are marked as sampled. A traceparent of a trusted proxy
    keeps its own flag; that of another client keeps it for this share of requests, and is marked as not sampled
    otherwise."""
    trace_client_sampling: bool = False
    """Obey the sampled flag in the traceparents of all clients. Any client can then have each of its requests
    traced."""
    telemetry_queue_bytes: Annotated[int, Field(ge=1024 * 1024, le=1024 * 1024 * 1024)] = 16_777_216
    """Bytes of spans, log records and metrics together that may wait for the collector; more is dropped and counted."""

    rate_limit_per_second: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 100
    """Requests a second from one client address, checked before authentication; 0: no limit."""
    rate_limit_burst: Annotated[int, Field(ge=1, le=1_000_000_000)] = 150
    """Burst: requests that one address may send at the same moment."""
    rate_limit_mode: Literal["local", "fleet", "redis"] = "local"
    """The place that counts RATE_LIMIT_PER_SECOND and RATE_LIMIT_BURST: local, each data plane; fleet, the control
    planes for all data planes (set the same two values there); or redis."""
    rate_limit_on_store_failure: Literal["open", "closed", "local"] = "open"
    """In the mode redis, the policy while Redis does not answer: open, closed or local."""
    limit_key_secret: Token | None = None
    """Key of the hash that replaces header values in the keys of rate limits, in reports and resets; the same on every
    data plane. Default: derived from DATAPLANE_TOKEN."""

    max_head_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = DEFAULTS.head
    """Bytes of a request's head (more: 431), of a response's head (more: 502), and of a response's trailers (more: the
    body is cut off)."""
    max_fields: Annotated[int, Field(ge=8, le=10_000)] = DEFAULTS.fields
    """Fields in a request's head (more: 431), and in a response's trailers (more: the body is cut off)."""
    max_target_bytes: Annotated[int, Field(ge=64, le=1024 * 1024)] = DEFAULTS.target
    """Bytes of a request's target (more: 414)."""
    max_connections: Annotated[int, Field(ge=1, le=10_000_000)] = DEFAULTS.connections
    """Client connections of one worker, at most three quarters of its file descriptors. More get 503 and are closed."""
    max_connections_per_address: Annotated[int, Field(ge=0, le=10_000_000)] = DEFAULTS.connections_per_address
    """Client connections of one worker from one address, trusted proxies excepted. More get 503 and are closed; 0: no
    limit."""
    max_requests_per_connection: Annotated[int, Field(ge=1, le=1_000_000_000)] = DEFAULTS.requests
    """Requests on one connection, which closes after the last."""
    handshake_timeout: Duration = DEFAULTS.handshake_timeout
    """Seconds that a TLS handshake, or the PROXY header before it, may take."""
    head_timeout: Duration = DEFAULTS.head_timeout
    """Seconds from a request's first byte to the end of its head: 408."""
    body_timeout: Duration = DEFAULTS.body_timeout
    """Seconds without a byte of a request's body: 408."""
    keep_alive_timeout: Duration = DEFAULTS.keep_alive_timeout
    """Seconds a client's connection may stay silent between requests."""
    linger_timeout: Duration = DEFAULTS.linger_timeout
    """After a refusal, seconds without a byte from the client before the connection closes. Until then its bytes are
    read and dropped, so that it receives the response."""
    linger_total: Duration = DEFAULTS.linger_total
    """After a refusal, seconds in total before the connection closes, whatever the client still sends."""
    half_close_timeout: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = DEFAULTS.half_close
    """Seconds without a byte of the response after which a client that has half-closed its connection counts as gone;
    0: at once."""
    retry_body_bytes: Annotated[int, Field(ge=0, le=16 * 1024 * 1024)] = DEFAULTS.replay
    """Request body that is kept for retries; a request with a longer one is sent once."""
    pool_idle: Annotated[int, Field(ge=0, le=100_000)] = DEFAULTS.pool_idle
    """Idle connections that a worker keeps to one instance."""
    pool_timeout: Duration = DEFAULTS.pool_timeout
    """Seconds that an idle connection to an instance is kept."""
    pool_age: Duration = DEFAULTS.pool_age
    """Seconds that a connection to an instance is used before it is replaced."""
    write_buffer_bytes: Annotated[int, Field(ge=4096, le=64 * 1024 * 1024)] = DEFAULTS.write_buffer
    """Bytes buffered for a slow reader, per connection, before reading from the other side is paused."""

    redis_host: RedisHost | None = None
    """Redis, in which limits of mode redis are counted."""
    redis_port: Annotated[int, Field(ge=1, le=65_535)] = 6379
    """Its port."""
    redis_url: RedisUrl | None = None
    """redis://USER:PASSWORD@HOST:PORT/DATABASE in place of REDIS_HOST and REDIS_PORT; rediss:// for TLS."""
    redis_ca: Certificates | None = None
    """Authority of Redis's certificate, PEM, with rediss://; without it the system's."""
    redis_cert: Path | None = None
    """Client certificate shown to Redis, PEM, with rediss:// and REDIS_KEY; read when a worker starts."""
    redis_key: Path | None = None
    """Its unencrypted private key."""
    redis_sentinels: Addresses | None = None
    """Comma separated addresses of Sentinels that know which server is the primary. User, password, database and TLS
    are taken from REDIS_URL."""
    redis_sentinel_name: Annotated[str, Field(min_length=1, max_length=256)] = "mymaster"
    """Name of the primary in the Sentinels."""
    redis_sentinel_password: SecretStr | None = None
    """Password of the Sentinels themselves."""
    redis_cluster: Addresses | None = None
    """Comma separated addresses of some nodes of a Redis Cluster. User, password and TLS are taken from REDIS_URL."""
    redis_key_prefix: KeyPrefix = ""
    """Stands before every key (`rate_limit:LIMIT:CALLER`), for a Redis that others use, too."""
    redis_timeout: Annotated[float, Field(ge=0.001, le=5, allow_inf_nan=False)] = 0.02
    """Seconds in which Redis must answer; after that, `on_store_failure` of the limit applies."""

    debug: bool = False
    """Log at level debug; overrides LOG_LEVEL."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """debug, info, warning or error."""

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: dict[str, object], handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Combinations are checked on the raw values, so that they are reported together with invalid values.
        problems = list(incomplete({name for name, value in data.items() if value is not None}))
        try:
            settings = handler(data)
        except ValidationError as error:
            raise SettingsError("; ".join([*_lines(error), *problems])) from None
        problems += mismatched("CONTROLPLANE_KEY", settings.controlplane_cert, settings.controlplane_key)
        problems += shared(settings.listen, settings.tls_listen, settings.status_listen)
        problems += unreadable(settings.tls_certs, settings.upstream_cert, settings.upstream_key)
        problems += _redis_problems(settings)
        if settings.access_log_fields and settings.access_log_format != "json":
            problems.append(
                "ACCESS_LOG_FIELDS: a text names its fields itself: set ACCESS_LOG_FORMAT to json"
            )
        if problems:
            raise SettingsError("; ".join(problems))
        return settings

    @property
    def RATE_LIMIT_PER_SECOND(self) -> float:
        """The setting under its variable's name."""
        return self.rate_limit_per_second

    @property
    def RATE_LIMIT_BURST(self) -> int:
        """The setting under its variable's name."""
        return self.rate_limit_burst

    @property
    def bounds(self) -> Bounds:
        """Limits on the resources that clients and instances may use."""
        return Bounds(
            head=self.max_head_bytes,
            fields=self.max_fields,
            target=self.max_target_bytes,
            connections=self.max_connections,
            connections_per_address=self.max_connections_per_address,
            requests=self.max_requests_per_connection,
            handshake_timeout=self.handshake_timeout,
            head_timeout=self.head_timeout,
            body_timeout=self.body_timeout,
            keep_alive_timeout=self.keep_alive_timeout,
            linger_timeout=self.linger_timeout,
            linger_total=self.linger_total,
            half_close=self.half_close_timeout,
            replay=self.retry_body_bytes,
            pool_idle=self.pool_idle,
            pool_timeout=self.pool_timeout,
            pool_age=self.pool_age,
            write_buffer=self.write_buffer_bytes,
            strip=self.strip_request_headers,
        )

    def certificates(self) -> NodeCertificates:
        """Read the files of TLS_CERTS, UPSTREAM_CERT and UPSTREAM_KEY. Raises BadFiles."""
        return read_certificates(self.tls_certs, self.upstream_cert, self.upstream_key)

    def access_log_options(self) -> AccessLogOptions | None:
        """The access log; None without one."""
        if not self.access_log:
            return None
        # Workers may have another working directory.
        file = str(self.access_log_file.absolute()) if self.access_log_file is not None else ""
        return AccessLogOptions(
            file,
            self.access_log_format,
            self.access_log_fields,
            self.access_log_sampling,
            self.access_log_redact,
        )

    def redis_options(self) -> RedisOptions | None:
        """The address of Redis; None if it is not configured."""
        url = read_url(self.redis_url.get_secret_value()) if self.redis_url is not None else None
        servers = [(url.host, url.port)] if url is not None else []
        if not servers and self.redis_host is not None:
            servers = [(self.redis_host.strip("[]"), self.redis_port)]
        several = self.redis_sentinels or self.redis_cluster
        if several:
            servers = [split_address(address) for address in several]
        if not servers:
            return None
        password = self.redis_sentinel_password
        return RedisOptions(
            tuple(servers),
            sentinel=self.redis_sentinel_name if self.redis_sentinels else "",
            cluster=self.redis_cluster is not None,
            user=url.user if url is not None else "",
            password=url.password if url is not None else "",
            sentinel_password=password.get_secret_value() if password is not None else "",
            database=url.database if url is not None else 0,
            tls=url.tls if url is not None else False,
            ca=self.redis_ca.read_text() if self.redis_ca is not None else "",
            # Workers may have another working directory.
            cert=str(self.redis_cert.absolute()) if self.redis_cert is not None else "",
            key=str(self.redis_key.absolute()) if self.redis_key is not None else "",
            prefix=self.redis_key_prefix,
            timeout=self.redis_timeout,
        )

    @property
    def warnings(self) -> Iterator[str]:
        """Combinations that do less than they seem to, a sentence each."""
        shared = (self.limit_key_secret, self.dataplane_token, self.dataplane_token_file)
        if not any(shared):
            what = (
                "limits of mode fleet or redis by header, API key or claim count only the requests of "
                "this data plane"
            )
            yield f"LIMIT_KEY_SECRET is not set: {what}"
        for name, reason in _without_effect(self):
            yield f"{name.upper()} has no effect: {reason}"

    @property
    def level(self) -> str:
        """Log level in effect."""
        return "debug" if self.debug else self.log_level

    @property
    def node_name(self) -> str:
        """NODE, or its default: host name and traffic port."""
        host = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")[:100]
        return self.node or f"{host or 'dataplane'}-{split_address(self.listen)[1]}"


def _redis_problems(settings: Settings) -> Iterator[str]:
    options = settings.redis_options()
    if options is None:
        if settings.rate_limit_mode == "redis":
            yield "RATE_LIMIT_MODE: redis needs REDIS_HOST, REDIS_URL, REDIS_SENTINELS or REDIS_CLUSTER"
    elif options.cluster and options.database:
        yield "REDIS_URL: must name database 0 for a Cluster"
    elif not options.tls and (options.ca or options.cert):
        which = "REDIS_CA" if options.ca else "REDIS_CERT"
        yield f"{which} has no meaning without REDIS_URL=rediss://..."
    else:
        yield from mismatched("REDIS_KEY", settings.redis_cert, settings.redis_key)


def _without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that were given but have no effect, with the reason."""
    given = settings.model_fields_set
    server, several = {"redis_host", "redis_port"}, settings.redis_sentinels or settings.redis_cluster
    of_sentinels = {"redis_sentinel_name", "redis_sentinel_password"}
    if settings.redis_options() is None:
        reasons = {name: "no Redis is configured" for name in given if name.startswith("redis_")}
    elif several:
        which = "REDIS_SENTINELS" if settings.redis_sentinels else "REDIS_CLUSTER"
        reasons = dict.fromkeys(server & given, f"{which} is set")
    elif settings.redis_url is not None:
        reasons = dict.fromkeys(server & given, "REDIS_URL is set")
    else:
        reasons = {}
    if not settings.access_log:
        of_lines = {name for name in given if name.startswith("access_log_")} - {"access_log_redact"}
        reasons |= dict.fromkeys(of_lines, "ACCESS_LOG is false")
    if not settings.redis_sentinels:
        reasons |= dict.fromkeys(of_sentinels & given, "REDIS_SENTINELS is not set")
    if settings.rate_limit_mode != "redis" and settings.rate_limit_on_store_failure != "open":
        reasons["rate_limit_on_store_failure"] = "RATE_LIMIT_MODE is not redis"
    return iter(sorted(reasons.items()))


def load() -> Settings:
    """Read the settings. SettingsError names every invalid or missing variable."""
    try:
        return Settings()
    except (SourceError, UnicodeDecodeError) as error:
        raise SettingsError(f"environment or .env: {error}") from None


def misspelled() -> Iterator[str]:
    """A sentence for each variable, of the environment or `.env`, that resembles a setting which is not set.

    Not an error: an environment holds other programs' variables, too.
    """
    known = [*(name.upper() for name in Settings.model_fields), *telemetry_names()]
    sources = EnvSettingsSource(Settings), DotEnvSettingsSource(Settings)
    given = {name.upper() for source in sources for name in source.env_vars}
    for name in sorted(given.difference(known)):
        near = [setting for setting in known if abs(len(setting) - len(name)) < 3 and setting not in given]
        for meant in get_close_matches(name, near, n=1, cutoff=0.9):
            yield f"{name} is not a setting and has no effect: did you mean {meant}?"


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        detail = "is not set" if problem["type"] == "missing" else problem["msg"]
        yield f"{name}: {detail}" if name else detail
