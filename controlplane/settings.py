"""Settings of the control plane: environment or `.env`, typed, frozen after start.

`load()` is the one way in. It raises SettingsError with one line that names every wrong variable, so that
an operator does not have to fix them one start at a time. No secret has a default.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Set
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from controlplane.identity import UnusableFile, read_tokens
from controlplane.model.fields import USERNAME
from controlplane.model.words import PATTERNS
from headgate_api.bounds import MOST_ROUTES


class SettingsError(Exception):
    """Settings that cannot be used; the message names every wrong variable in one line."""


def _wrong(detail: str) -> PydanticCustomError:
    # Braces are placeholders to pydantic.
    return PydanticCustomError("setting", "{detail}", {"detail": detail})


_HOST = re.compile(r"\[[^\[\]/\s]+\]|[^\[\]/:@\s]+")
"""A name or an address, an IPv6 address in brackets; no URL."""


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if (
        not colon
        or not _HOST.fullmatch(host)
        or not re.fullmatch(r"[0-9]{1,5}", port)
        or not 0 < int(port) < 65536
    ):
        raise _wrong(f"{value!r} is not host:port")
    return value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _networks(value: object) -> object:
    try:
        return tuple(ip_network(str(part)) for part in value) if isinstance(value, tuple) else value
    except ValueError as error:
        raise _wrong(str(error)) from None


def _folders(value: tuple[str, ...]) -> tuple[str, ...]:
    for folder in value:
        if not re.match("/[^/]", folder) or {".", ".."} & set(folder.split("/")):
            raise _wrong(
                f"{folder!r} is not the absolute path of a folder: one '/', names, no '.' and no '..'"
            )
    return value


def _endpoints(value: tuple[str, ...]) -> tuple[str, ...]:
    for endpoint in value:
        scheme, mark, address = endpoint.partition("://")
        if not mark or scheme not in ("http", "https"):
            raise _wrong(f"{endpoint!r} is not http://host:port or https://host:port")
        _address(address.rstrip("/"))
    if len({endpoint.partition("://")[0] for endpoint in value}) > 1:
        raise _wrong("must not mix http:// and https://")
    return tuple(endpoint.rstrip("/") for endpoint in value)


def _https(value: str) -> str:
    # The token is sent there.
    if not re.fullmatch(r"https://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/?", value):
        raise _wrong(f"{value!r} is not https://host:port")
    return value.rstrip("/")


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if not re.fullmatch(
            r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", origin
        ):
            raise _wrong(f"{origin!r} is not an origin such as https://admin.example.org, in lower case")
    return value


def _readable(value: Path) -> Path:
    try:
        value.read_bytes()
    except OSError as error:
        raise _wrong(f"cannot read {value}: {error.strerror}") from None
    return value


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(_readable(value)))
    except ssl.SSLError:
        raise _wrong(f"{value} holds no PEM certificate") from None
    return value


def _tokens(value: Path) -> Path:
    try:
        read_tokens(value)
    except UnusableFile as error:
        raise _wrong(str(error)) from None
    return value


def _secret(shortest: int, longest: int = 1024) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not shortest <= len(value.get_secret_value()) <= longest:
            raise _wrong(f"must be {shortest} to {longest} characters long")
        return value

    return AfterValidator(check)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host; names other than localhost are not looked up."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _numeric(value: tuple[str, ...]) -> tuple[str, ...]:
    for address in map(_address, value):
        try:
            ip_address(address.rpartition(":")[0].strip("[]"))
        except ValueError:
            raise _wrong(f"{address!r} does not begin with an IP address") from None
    return value


Address = Annotated[str, AfterValidator(_address)]
"""host:port; an IPv6 address in brackets."""
Addresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_numeric)]
"""The same, several, without names."""
Endpoints = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), Field(min_length=1), AfterValidator(_endpoints)
]
KubernetesUrl = Annotated[str, AfterValidator(_https)]
Issuers = Annotated[tuple[Annotated[str, Field(max_length=512)], ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks), BeforeValidator(_split)
]
Folders = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_folders)]
Certificates = Annotated[Path, AfterValidator(_certificates)]
KeyFile = Annotated[Path, AfterValidator(_readable)]
TokenFile = Annotated[Path, AfterValidator(_tokens)]


class Settings(BaseSettings):
    """All settings; the environment variable of each is its name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    admin_listen: Address = "127.0.0.1:8080"
    """Admin API, health and metrics. On other addresses than loopback it needs ADMIN_CERT, or ADMIN_PLAINTEXT."""
    admin_cert: Certificates | None = None
    """Certificate of the admin API, PEM; with it, the port accepts only HTTPS. New connections use renewed files."""
    admin_key: KeyFile | None = None
    """Its unencrypted private key."""
    admin_ca: Certificates | None = None
    """Authority of ADMIN_CERT, PEM, by which data planes verify it when the gateway routes /api/v1 to this control
    plane; by default the authorities of their systems."""
    admin_plaintext: bool = False
    """Serve the admin API unencrypted on other addresses than loopback: in a private network, or behind a proxy that
    terminates TLS."""
    admin_cors_origins: Origins = ()
    """Comma separated origins, such as https://admin.example.org, whose pages may call the admin API from a browser."""
    grpc_listen: Address = "127.0.0.1:50051"
    """Config stream and registry."""

    etcd_endpoints: Endpoints = ("http://127.0.0.1:2379",)
    """Comma separated URLs of etcd members; https:// takes ETCD_CA, or the system's authorities."""
    etcd_ca: Certificates | None = None
    """Authority of the etcd members' certificates, PEM."""
    etcd_cert: Certificates | None = None
    """Client certificate for etcd, PEM; with ETCD_KEY. New connections use renewed files."""
    etcd_key: KeyFile | None = None
    """Its unencrypted private key."""
    etcd_username: str | None = None
    """User of etcd, if it requires authentication; with ETCD_PASSWORD."""
    etcd_password: SecretStr | None = None
    """Its password."""

    secret_key: Annotated[SecretStr, _secret(32)]
    """Encrypts the signing keys in etcd; at least 32 characters, the same on every control plane."""
    dataplane_token: Annotated[SecretStr, _secret(16)] | None = None
    """Bearer credential of the data planes; at least 16 characters. Without it and without a file, GRPC_CLIENT_CA is
    required."""
    dataplane_token_file: TokenFile | None = None
    """File with such credentials, one per line; each of them is accepted, and the file is read again when it
    changes."""
    service_token: Annotated[SecretStr, _secret(16)] | None = None
    """Bearer credential with which any service registers; at least 16 characters. Without it, each service needs its
    own token (`headgate token service`) or a certificate."""
    service_token_file: TokenFile | None = None
    """The same in a file, as for the data planes."""

    register_allow: Networks = ()
    """Comma separated networks that services may register although they are loopback, link-local, multicast or
    reserved; for instance 127.0.0.0/8 where data planes and services share one machine."""
    register_deny: Networks = ()
    """Comma separated networks that services must not register, in addition to the special networks. Host names are not
    looked up here: set it on the data planes, too."""
    unix_sockets: Folders = ()
    """Comma separated folders in which services may register Unix sockets (unix:/path), also below them. Set it as on
    the data planes, which connect to no other."""
    discovery_dns_servers: Addresses = ()
    """Comma separated host:port of DNS servers for `discovery.dns`, by address; by default those of the system
    (/etc/resolv.conf)."""
    service_account_tokens: bool = False
    """Let pods register with service-account tokens of Kubernetes, if the service names their account in
    `registration.kubernetes`."""
    service_account_audience: Annotated[str, Field(min_length=1, max_length=256)] = "headgate"
    """Audience that these tokens must have."""
    service_account_issuers: Issuers = ()
    """Comma separated issuers that they may have; by default that of this control plane's own token
    (KUBERNETES_TOKEN_FILE)."""
    kubernetes_url: KubernetesUrl | None = None
    """API server for `discovery.kubernetes` and SERVICE_ACCOUNT_TOKENS, https://host:port; in a pod that of its
    cluster."""
    kubernetes_token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    """File with the service-account token for it; read again for each connection."""
    kubernetes_ca: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    """Authority of its certificate, PEM."""
    kubernetes_service_host: str | None = None
    """Set by Kubernetes in pods: address of the cluster's API server."""
    kubernetes_service_port: Annotated[int, Field(ge=1, le=65_535)] = 443
    """Set by Kubernetes in pods: its port."""
    register_most_instances: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Instances of one service that may be registered."""
    register_most_services: Annotated[int, Field(ge=0, le=1_000_000)] = 5000
    """Number of services from which on a registration creates no further service."""

    max_routes: Annotated[int, Field(ge=1, le=1_000_000)] = MOST_ROUTES
    """Routes beyond which a change that adds one is refused. Set it as on the data planes, which reject a configuration
    with more."""

    admin_username: Annotated[str, Field(pattern=USERNAME)] = "admin"
    """Name of the first user, who has all rights."""
    admin_password: Annotated[SecretStr, _secret(8, 128)] | None = None
    """Password of the first user; needed only while the store holds no user."""

    grpc_cert: Certificates | None = None
    """Certificate of the gRPC port, PEM; without it the port is not encrypted."""
    grpc_key: KeyFile | None = None
    """Its unencrypted private key."""
    grpc_client_ca: Certificates | None = None
    """When set, gRPC clients must show a certificate of this authority."""

    access_token_ttl: Annotated[int, Field(ge=10, le=86_400)] = 900
    """Seconds an access token is valid."""
    refresh_token_ttl: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
    """Seconds that an unused refresh token is valid."""
    refresh_token_lifetime: Annotated[int, Field(ge=60, le=31_536_000)] = 2_592_000
    """Seconds after which a login ends, however often it was renewed."""
    token_issuer: Annotated[str, Field(min_length=1, max_length=256)] = "headgate"  # noqa: S105
    """`iss` of the tokens that are issued."""
    token_audience: Annotated[str, Field(min_length=1, max_length=256)] = "headgate"  # noqa: S105
    """`aud` of the tokens that are issued."""

    trusted_proxies: Networks = ("127.0.0.0/8", "::1/128")  # type: ignore[assignment]  # validated as well
    """Comma separated networks whose X-Forwarded-For is trusted when wrong passwords are counted by address: those of
    load balancers, and of the data planes that route /api/v1 to this control plane."""
    expose_admin: bool = True
    """Route /api/v1 on the gateway to this control plane's admin API."""
    advertise: Address | None = None
    """host:port at which data planes reach the admin API; by default ADMIN_LISTEN. A loopback address counts only if
    GRPC_LISTEN and ETCD_ENDPOINTS are on loopback, too: otherwise the gateway does not route /api/v1 to this control
    plane, and a log line says so."""
    advertise_grpc: Address | None = None
    """host:port at which the other control planes reach GRPC_LISTEN; by default GRPC_LISTEN itself, where 0.0.0.0
    stands for this machine's address. A loopback address counts only if ETCD_ENDPOINTS is on loopback, too: otherwise
    the others read the state of this one's data planes from etcd, up to 512 KiB of it."""
    grpc_peer_ca: Certificates | None = None
    """Authority of the other control planes' GRPC_CERT, PEM; by default GRPC_CLIENT_CA, or the system's authorities. If
    GRPC_CLIENT_CA is set, control planes present GRPC_CERT to each other, and this authority must have signed it."""
    anonymous_read: bool = False
    """Answer GET requests from this machine without a token; for the demo."""

    dashboard: bool = True
    """Serve the dashboard at / of the admin API; browsers log in there with the users of the gateway."""
    traffic_history: Annotated[int, Field(ge=0, le=21_600)] = 3600
    """Seconds of traffic that are recorded, in memory, a sample every 10 seconds; data planes report it as often also
    while nobody watches. 0: none."""

    debug: bool = False
    """Log at debug level; overrides LOG_LEVEL."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """debug, info, warning or error."""

    redis_host: str | None = None
    """Accepted so that both planes can share one `.env`; the control plane does not use it."""
    redis_port: Annotated[int, Field(ge=1, le=65_535)] = 6379
    """Accepted for the same reason."""
    rate_limit_per_second: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 100
    """Requests a second from one client address over all data planes with RATE_LIMIT_MODE=fleet; the same value as on
    the data planes."""
    rate_limit_burst: Annotated[int, Field(ge=1, le=1_000_000_000)] = 150
    """Requests that one address may send at once; the same value as on the data planes."""
    limit_share_seconds: Annotated[float, Field(ge=10, le=3600, allow_inf_nan=False)] = 3600
    """Seconds for which data planes use their share of a limit of the fleet while no control plane answers (its
    `without_owner: share`). The share of a data plane that dies without deregistering is withheld from the others for
    as long."""

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: dict[str, object], handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Combinations are checked on the raw values, so that they are reported together with wrong values.
        problems = list(_incomplete({name for name, value in data.items() if value is not None}))
        try:
            settings = handler(data)
        except ValidationError as error:
            raise SettingsError("; ".join([*_lines(error), *problems])) from None
        problems += _mismatched("ETCD", settings.etcd_cert, settings.etcd_key)
        problems += _mismatched("GRPC", settings.grpc_cert, settings.grpc_key)
        problems += _mismatched("ADMIN", settings.admin_cert, settings.admin_key)
        problems += _in_the_clear(settings)
        problems += _alike(settings)
        if settings.service_account_tokens and settings.kubernetes_api is None:
            problems.append("SERVICE_ACCOUNT_TOKENS: needs KUBERNETES_URL, as this process runs in no pod")
        if (settings.etcd_ca or settings.etcd_cert) and not settings.etcd_endpoints[0].startswith("https:"):
            problems.append("ETCD_CA and ETCD_CERT need https:// in ETCD_ENDPOINTS")
        if problems:
            raise SettingsError("; ".join(problems))
        return settings

    @property
    def kubernetes_api(self) -> str | None:
        """URL of the API server; None if there is none."""
        if self.kubernetes_url is not None or self.kubernetes_service_host is None:
            return self.kubernetes_url
        host = self.kubernetes_service_host
        bare = f"[{host}]" if ":" in host else host
        return f"https://{bare}:{self.kubernetes_service_port}"

    @property
    def level(self) -> str:
        """Log level in effect."""
        return "debug" if self.debug else self.log_level


def _incomplete(given: Set[str]) -> Iterator[str]:
    for one, other in (
        ("etcd_cert", "etcd_key"),
        ("grpc_cert", "grpc_key"),
        ("admin_cert", "admin_key"),
        ("etcd_username", "etcd_password"),
    ):
        if (one in given) != (other in given):
            yield f"{one.upper()} and {other.upper()} must be set together"
    if "grpc_client_ca" in given and "grpc_cert" not in given:
        yield "GRPC_CLIENT_CA needs GRPC_CERT and GRPC_KEY"
    if "admin_ca" in given and "admin_cert" not in given:
        yield "ADMIN_CA needs ADMIN_CERT and ADMIN_KEY"
    for token in ("dataplane_token", "service_token"):
        if token in given and f"{token}_file" in given:
            yield f"{token.upper()} and {token.upper()}_FILE must not both be set"
    if not given & {"dataplane_token", "dataplane_token_file", "grpc_client_ca"}:
        yield f"DATAPLANE_TOKEN: is not set ({_WHAT['DATAPLANE_TOKEN']})"


def _mismatched(prefix: str, cert: Path | None, key: Path | None) -> Iterator[str]:
    if cert is None or key is None:
        return
    try:
        # The password callback keeps OpenSSL from asking at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError):
        yield f"{prefix}_KEY: {key} is not the unencrypted private key of {cert}"


def _in_the_clear(settings: Settings) -> Iterator[str]:
    """The admin API receives passwords, so it must be encrypted."""
    host = settings.admin_listen.rpartition(":")[0]
    if settings.admin_cert is None and not settings.admin_plaintext and not is_loopback(host):
        yield (
            f"ADMIN_LISTEN: on {settings.admin_listen}, passwords and tokens would cross the network unencrypted: set "
            f"ADMIN_CERT and ADMIN_KEY, or ADMIN_PLAINTEXT=true for a private network or behind a proxy that ends TLS"
        )


def _alike(settings: Settings) -> Iterator[str]:
    """A credential must not be both a data plane's and a service's: each would have the rights of the other."""
    if settings.service_token is not None and settings.service_token == settings.dataplane_token:
        yield "SERVICE_TOKEN: must not be the same as DATAPLANE_TOKEN"


def load() -> Settings:
    """Read the settings; SettingsError names everything that is wrong or missing at once."""
    try:
        return Settings()  # type: ignore[call-arg]  # the environment gives what has no default
    except (SourceError, UnicodeDecodeError) as error:
        raise SettingsError(f"environment or .env: {error}") from None


def misspelled() -> Iterator[str]:
    """A sentence for each variable, of the environment or `.env`, that resembles a setting which is not set.

    Not an error: an environment holds other programs' variables, too.
    """
    known = [name.upper() for name in Settings.model_fields]
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
        if problem["type"] == "string_pattern_mismatch":
            detail = f"must be {PATTERNS[problem['ctx']['pattern']]}"
        if problem["type"] == "missing" and (prose := _WHAT.get(name)):
            detail += f" ({prose})"
        yield f"{name}: {detail}" if name else detail


_WHAT = {
    "SECRET_KEY": "at least 32 random characters, the same on every control plane",
    "DATAPLANE_TOKEN": "at least 16 random characters, known to the data planes; or set DATAPLANE_TOKEN_FILE, or"
    " GRPC_CLIENT_CA to know them by their certificates",
}
