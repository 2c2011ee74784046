"""Certificates for etcd that follow their files: connections made after a renewal use the renewed ones."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from controlplane.store.etcd_settings import EtcdSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Credentials:
    """What one connection is made with; both None without TLS."""

    grpc: grpc.ChannelCredentials | None
    tls: ssl.SSLContext | None
    """The same, for connections that are not gRPC's."""


class CredentialFiles:
    """The credentials in the files of the settings. Raises ValueError at once for missing or invalid files."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._settings = settings
        self._files = [path for path in (settings.ca, settings.cert, settings.key) if path is not None]
        self._seen = self._stamps()
        self._last = self._read()

    def current(self) -> Credentials:
        """Those in the files; the previous ones while the files are invalid, perhaps half written."""
        if (stamps := self._stamps()) != self._seen:
            self._seen = stamps
            try:
                self._last = self._read()
            except ValueError as error:
                text = "renewed certificates are invalid; the old ones stay in use"
                logger.error(text, extra={"reason": str(error)})
        return self._last

    def _read(self) -> Credentials:
        return Credentials(self._settings.credentials(), self._settings.tls())

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
