"""TLS for the gRPC server, from files. Renewed files are taken up by the next handshake, without a restart."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

logger = logging.getLogger(__name__)


class TlsError(Exception):
    """Certificate files that cannot be used; the message is one line and names the file."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The server's certificate chain and key, PEM. With `client_ca`, clients must show a certificate it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises TlsError."""
    reloader: Any = _Reloader(files)  # the stubs do not know that None keeps what is in use
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files), reloader, require_client_authentication=files.client_ca is not None
    )


class _Reloader:
    """Called by gRPC at every handshake, on a thread of its own; None keeps what is in use."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = _stamps(files)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        if (stamps := _stamps(self._files)) == self._seen:
            return None
        self._seen = stamps
        try:
            return _configuration(self._files)
        except TlsError as error:
            logger.error(
                "renewed certificates are of no use; the old ones stay", extra={"reason": str(error)}
            )
            return None


def _stamps(files: TlsFiles) -> tuple[int, ...]:
    present = [path for path in (files.cert, files.key, files.client_ca) if path is not None]
    try:
        return tuple(path.stat().st_mtime_ns for path in present)
    except OSError:
        return ()


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    cert, key = _read(files.cert), _read(files.key)
    authority = _read(files.client_ca) if files.client_ca else None
    _try(files)
    return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=authority)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from None


def _try(files: TlsFiles) -> None:
    """gRPC itself only logs what is wrong, and then refuses every handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password callback keeps OpenSSL from asking at the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    except (ssl.SSLError, OSError):
        raise TlsError(
            f"{files.cert}, {files.key}: not a certificate and its unencrypted private key"
        ) from None
    try:
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
    except (ssl.SSLError, OSError):
        raise TlsError(f"{files.client_ca}: holds no PEM certificate") from None
