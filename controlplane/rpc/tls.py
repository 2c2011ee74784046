"""TLS for the gRPC server, from files. Renewed files are taken up by the next handshake, without a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from controlplane.tls import TlsError, TlsFiles, log_useless_renewal


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises TlsError."""
    reloader: Any = _Reloader(files)  # the stubs do not know that None keeps the present credentials
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files), reloader, require_client_authentication=files.client_ca is not None
    )


class _Reloader:
    """Called by gRPC at every handshake, on its own thread; None keeps the present credentials."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = files.stamps()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        if (stamps := self._files.stamps()) == self._seen:
            return None
        self._seen = stamps
        try:
            return _configuration(self._files)
        except TlsError as error:
            log_useless_renewal(error)
            return None


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    cert, key = _read(files.cert), _read(files.key)
    authority = _read(files.client_ca) if files.client_ca else None
    files.context()  # gRPC itself only logs the problem, and then refuses every handshake
    return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=authority)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path}: {error.strerror}") from None


__all__ = ["TlsError", "TlsFiles", "server_credentials"]
