"""Certificates for operators without an authority of their own: elliptic curve P-256, in one folder.

The control plane defines the names in client certificates (SPIFFE IDs): /headgate/dataplane[/<node>] and
/headgate/service[/<name>]; without the last part they are valid for any data plane, or any service. Those of a pool of
data planes are /headgate/pool/<pool>/dataplane[/<node>].
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headgate.cli.failure import Failure

TRUST_DOMAIN = "headgate"
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Hosts of every server certificate."""
AUTHORITY_DAYS = 3650

_EARLIER = timedelta(minutes=5)
"""Certificates become valid some time before now, because clocks differ."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """The holder of a certificate. A server has hosts; a client has a name, or is valid for any name."""

    role: str
    name: str = ""
    hosts: tuple[str, ...] = ()
    pool: str = ""
    """Of a data plane; empty for the default pool."""

    def __post_init__(self) -> None:
        for name in filter(None, (self.name, self.pool)):
            if not _NAME.fullmatch(name):
                raise Failure(f"{name!r} is not a name: 1 to 63 letters, digits, '.', '_' or '-'", 2)
        for host in self.hosts:
            _san(host)

    @property
    def stem(self) -> str:
        """Of the file names."""
        return "-".join(filter(None, (self.pool, self.role, self.name)))

    @property
    def server(self) -> bool:
        """Whether it accepts connections."""
        return self.role == "controlplane"

    def names(self) -> list[x509.GeneralName]:
        """The purpose of the certificate."""
        if self.server:
            return [_san(host) for host in dict.fromkeys((*LOCAL, *self.hosts))]
        pool = f"pool/{self.pool}" if self.pool else ""
        path = "/".join(filter(None, ("headgate", pool, self.role, self.name)))
        return [x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/{path}")]


class Authority:
    """The authority in a folder: its certificate, and the key that signs with it."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, folder: Path, subjects: Iterable[Subject]) -> Authority:
        """Create an authority. Raises Failure if its files, or those of the subjects, already exist."""
        stems = ["ca", *(subject.stem for subject in subjects)]
        there = [
            name for stem in stems for name in (f"{stem}.pem", f"{stem}.key") if (folder / name).exists()
        ]
        if there:
            raise Failure(
                f"{folder} holds {', '.join(there)} already, and nothing is overwritten: choose another folder, or "
                "renew single certificates with `headgate certs issue`"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        name = _distinguished("Headgate authority")
        certificate = _signed(
            _builder(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True),
            key.public_key(),
            key,
        )
        made = cls(folder, certificate, key)
        made._write("ca", certificate, key)
        return made

    @classmethod
    def read(cls, folder: Path) -> Authority:
        """The authority that `create` wrote. Raises Failure."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except OSError as error:
            raise Failure(f"cannot read {error.filename}: {error.strerror} (`headgate certs init`)") from None
        except (ValueError, TypeError):
            raise Failure(f"{folder} holds no authority that can be used: ca.pem, ca.key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise Failure(f"{folder / 'ca.key'} is not the key of {folder / 'ca.pem'}")
        return cls(folder, certificate, key)

    def issue(self, subject: Subject, days: int) -> tuple[Path, Path]:
        """Write a certificate and its key to the folder, and replace existing ones: (certificate, key)."""
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if subject.server else ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = _signed(
            _builder(_distinguished(subject.stem), self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectAlternativeName(subject.names()), critical=False),
            self._key.public_key(),
            self._key,
        )
        return self._write(subject.stem, certificate, key)

    def hosts(self) -> tuple[str, ...]:
        """Hosts in the control plane's current certificate. Raises Failure."""
        path = self.folder / "controlplane.pem"
        try:
            present = x509.load_pem_x509_certificate(path.read_bytes())
            names = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            raise Failure(f"cannot tell the hosts from {path}: give --hosts") from None
        return tuple(str(name.value) for name in names)

    def _write(
        self, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        files = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        encoding = serialization.Encoding.PEM
        private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Processes that reload the files ignore a pair that does not match, so the order does not matter.
            _replace(files[1], private)
            _replace(files[0], certificate.public_bytes(encoding))
        except OSError as error:
            raise Failure(f"cannot write in {self.folder}: {error.strerror}") from None
        return files


def _replace(path: Path, content: bytes) -> None:
    """Write the file in one step, readable only by the owner from the start."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise Failure(f"{host!r} is neither a host name nor an IP address (and takes no port)", 2)
    return x509.DNSName(host.lower())


def _distinguished(name: str) -> x509.Name:
    # Without meaning: the alternative names define the use of a certificate.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, issuer: ec.EllipticCurvePublicKey, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def split_hosts(given: Sequence[str]) -> tuple[str, ...]:
    """Hosts from several options, each with one host or several separated by commas."""
    return tuple(part.strip().strip("[]") for text in given for part in text.split(",") if part.strip())
