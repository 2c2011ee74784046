"""Settings of the connection to etcd: validated immediately, with every problem in one message."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import grpc


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """The address of etcd and our credentials. Raises ValueError with all problems."""

    endpoints: tuple[str, ...] = ("http://127.0.0.1:2379",)
    """URLs of the members, http or https alike; tried in turn."""
    ca: Path | None = None
    """Certificates (PEM) that sign the members' own; None trusts the public authorities."""
    cert: Path | None = None
    """Our certificate (PEM), if etcd requires one; with `key`."""
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 5.0
    """Seconds that one call may take over all endpoints; an idle watch is probed as often."""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ValueError("etcd: " + "; ".join(problems))

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of every endpoint."""
        return tuple(urlsplit(endpoint).netloc for endpoint in self.endpoints)

    @property
    def secure(self) -> bool:
        return self.endpoints[0].startswith("https://")

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials; None without TLS. Raises ValueError for missing or invalid files."""
        if not self.secure:
            return None
        self.tls()
        authorities, key, cert = (
            path.read_bytes() if path else None for path in (self.ca, self.key, self.cert)
        )
        return grpc.ssl_channel_credentials(authorities, key, cert)

    def _problems(self) -> Iterator[str]:
        if not self.endpoints:
            yield "no endpoint is given"
        for endpoint in self.endpoints:
            yield from _endpoint_problems(endpoint)
        if len({endpoint.partition("://")[0] for endpoint in self.endpoints}) > 1:
            yield "endpoints must not mix http and https"
        elif self.endpoints and not self.secure and (self.ca or self.cert or self.key):
            yield "certificates are given, but the endpoints do not use https"
        if bool(self.cert) != bool(self.key):
            yield "a certificate and its key must be given together"
        if bool(self.username) != bool(self.password):
            yield "user name and password must be given together"
        if not 0 < self.timeout <= 60:
            yield "timeout must be above 0 and at most 60 seconds"

    def tls(self) -> ssl.SSLContext | None:
        """The same for connections that are not gRPC's. Raises ValueError as well.

        gRPC accepts any file and fails at the first call without a reason; Python's ssl reports problems of files.
        """
        if not self.secure:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        if self.ca:
            with _naming("CA certificates", self.ca):
                context.load_verify_locations(cafile=self.ca)
        else:
            context.load_default_certs()
        if self.cert and self.key:
            with _naming("client certificate and key", self.cert, self.key):
                context.load_cert_chain(self.cert, self.key, password=_no_passphrase)
        return context


@contextmanager
def _naming(what: str, *paths: Path) -> Iterator[None]:
    """Turn errors of files into one ValueError that names them."""
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or error
        raise ValueError(f"etcd: {what} ({', '.join(map(str, paths))}): {reason}") from error


def _no_passphrase() -> str:
    # Without it, ssl would ask at the terminal.
    return ""


def _endpoint_problems(endpoint: str) -> Iterator[str]:
    if "@" in endpoint:  # not shown: it may hold a password
        yield "an endpoint must not contain credentials: give user name and password separately"
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _port(parts):
        yield f"endpoint {endpoint!r} is not like http://host:2379"
    elif parts.path.strip("/") or parts.query or parts.fragment:
        yield f"endpoint {endpoint!r} must end with its port"


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None
