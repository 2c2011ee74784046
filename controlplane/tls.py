"""Certificate files of a server: checked before they are used, and read again when they change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

logger = logging.getLogger(__name__)


class TlsError(Exception):
    """Certificate files that cannot be used; the message is one line and names the file."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The server's certificate chain and key, PEM. With `client_ca`, clients must show a certificate it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamps(self) -> tuple[object, ...]:
        """Differs when a file was changed; empty when one cannot be looked at.

        Not by its time alone: packages and images give every file the same one, and a copy may keep it.
        """
        present = [path for path in (self.cert, self.key, self.client_ca) if path is not None]
        try:
            found = [path.stat() for path in present]
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def context(self) -> ssl.SSLContext:
        """The context of a server for handshakes (TLS 1.2 and 1.3). Raises TlsError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # The password callback keeps OpenSSL from asking at the terminal.
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (ssl.SSLError, OSError):
            raise TlsError(
                f"{self.cert}, {self.key}: not a certificate and its unencrypted private key"
            ) from None
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError):
            raise TlsError(f"{self.client_ca}: holds no PEM certificate") from None
        return context


class FollowedContext:
    """A server's context whose handshakes follow the files. `context` is for the server; it never changes.

    OpenSSL asks for the context in the middle of every handshake. Open connections keep the certificate that they began
    with.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self._files = files
        self._seen = files.stamps()
        self.context = self._present = files.context()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current()

    def _current(self) -> ssl.SSLContext:
        if (stamps := self._files.stamps()) != self._seen:
            self._seen = stamps
            try:
                self._present = self._files.context()
            except TlsError as error:
                log_useless_renewal(error)
        return self._present


def log_useless_renewal(error: TlsError) -> None:
    """Renewed files cannot be used, and the server keeps the previous ones."""
    logger.error("renewed certificates are invalid; the old ones stay in use", extra={"reason": str(error)})


def tls_name(cert: Path) -> str:
    """The first DNS name of a certificate; empty when it has none: then it must be valid for the address.

    For a wildcard, a name that it covers: no one looks it up.
    """
    found = x509.load_pem_x509_certificate(cert.read_bytes())
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    listed = names.get_values_for_type(x509.DNSName)
    plain = [name for name in listed if not name.startswith("*")]
    covered = [f"controlplane{name[1:]}" for name in listed if name.startswith("*.")]
    return next(iter(plain + covered), "")
