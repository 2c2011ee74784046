"""Certificates that listeners show their clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import Field, SecretStr
from pydantic.json_schema import SkipJsonSchema

from controlplane.model.base import Added, Narrows, Part, Resource
from controlplane.model.fields import Certificates, Name, RelativeFile
from controlplane.model.problems import Problem

KEYS: Final = "certificates.keys"
"""Capability of data planes that take private keys. The control plane adds it to a stream that is encrypted, and takes
it from every other."""
FILES: Final = "certificates.files"
"""Capability of data planes that read certificates from their own files."""
SOON: Final = timedelta(days=30)
"""Time before the end of a certificate from which on there are warnings."""

_EXAMPLE: Final = (
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBAzCBtqADAgECAgEBMAUGAytlcDAbMRkwFwYDVQQDDBBzaG9wLmV4YW1wbGUu\n"
    "b3JnMB4XDTI2MDEwMTAwMDAwMFoXDTQ2MDEwMTAwMDAwMFowGzEZMBcGA1UEAwwQ\n"
    "c2hvcC5leGFtcGxlLm9yZzAqMAUGAytlcAMhAN7atD1GNeJDPJCTRxZQPVRubqRM\n"
    "MuPfN7JHvhzK/uSLox8wHTAbBgNVHREEFDASghBzaG9wLmV4YW1wbGUub3JnMAUG\n"
    "AytlcANBAEqoFWMlG5Dzslbf5NhKKiJ/5mazE6ATramUfCBdImtOR1j96kCrc/IE\n"
    "BemwJslvD0e1K7EhlKoQCtQEvhM02Aw=\n"
    "-----END CERTIFICATE-----\n"
)


class CertificateFiles(Part):
    """Files of each data plane."""

    certificate: Annotated[
        RelativeFile,
        Field(description="Path below CERTIFICATE_DIR: the certificate itself, then its intermediates, PEM."),
    ]
    private_key: Annotated[
        RelativeFile, Field(description="Path below CERTIFICATE_DIR: its unencrypted private key, PEM.")
    ]


class Certificate(Resource):
    """A certificate with its chain and private key, or the files of the data planes that hold them. The key is
    encrypted before it is stored, and never shown."""

    KIND: ClassVar[str] = "certificate"
    PLURAL: ClassVar[str] = "certificates"
    SECRET: ClassVar[bool] = True
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"name": "shop", "certificate": _EXAMPLE}
    SENT_AS: ClassVar[Mapping[str, str]] = {"private_key": "sealed"}
    ADDED: ClassVar[Mapping[str, Added]] = {"certificate": Narrows(KEYS), "files": Narrows(FILES)}

    name: Name
    certificate: Annotated[
        Certificates | None,
        Field(
            description="PEM: the certificate itself, then its intermediates in order. Needed, or `files`."
        ),
    ] = None
    private_key: Annotated[
        SecretStr | None,
        Field(
            exclude=True,
            json_schema_extra={"writeOnly": True, "maxLength": 16_384},
            description="Its unencrypted private key, PEM. If left out, the stored key stays.",
        ),
    ] = None
    not_after: Annotated[
        str | None,
        Field(
            max_length=64,
            json_schema_extra={"readOnly": True},
            description="The end of its validity (UTC), as the certificate has it; of `files`, the earliest that a "
            "data plane has read. A value that is sent is ignored.",
        ),
    ] = None
    files: Annotated[
        CertificateFiles | None,
        Field(
            description="In place of `certificate` and `private_key`: files that each data plane reads itself, again "
            "when they change. Keys then never leave it."
        ),
    ] = None
    sealed_key: Annotated[SkipJsonSchema[SecretStr | None], Field(exclude=True)] = None
    """The private key, encrypted: kept by the control plane; documents cannot set it."""

    @property
    def sealed(self) -> str:
        """The encrypted key; empty without one."""
        return self.sealed_key.get_secret_value() if self.sealed_key else ""

    @property
    def public_key(self) -> bytes:
        """The public key of the certificate; empty if data planes read it from files."""
        return _public(_chain(self.certificate)[0].public_key()) if self.certificate else b""

    @property
    def ends(self) -> datetime | None:
        """The end of its validity; None if data planes read it from files."""
        return _chain(self.certificate)[0].not_valid_after_utc if self.certificate else None

    @classmethod
    def prepare(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        """The end of the validity is that of the certificate."""
        found = fields.get("certificate")
        chain = _chain(found) if isinstance(found, str) else ()
        return {**fields, "not_after": chain[0].not_valid_after_utc.isoformat() if chain else None}

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """The chain is in order, and the key is that of the certificate; files replace both."""
        pem, key = fields.get("certificate"), fields.get("private_key")
        if (pem is None) == (fields.get("files") is None):
            both = "must not be given together with files"
            yield Problem("certificate", "is required, or files" if pem is None else both)
        if key is not None and fields.get("files") is not None:
            yield Problem("private_key", "must not be given together with files")
        chain = _chain(pem) if isinstance(pem, str) else ()
        for position, (below, above) in enumerate(pairwise(chain)):
            if below.issuer != above.subject:
                detail = f"certificate {position + 2} is not the issuer of certificate {position + 1}"
                yield Problem("certificate", f"must be a chain, the certificate itself first: {detail}")
                break
        if isinstance(key, str):
            loaded = _key(key)
            if loaded is None:
                yield Problem("private_key", "must be an unencrypted private key in PEM")
            elif chain and _public(loaded.public_key()) != _public(chain[0].public_key()):
                yield Problem("private_key", "is not the key of the (first) certificate")


def with_key(certificate: Certificate, sealed: str | None) -> Certificate:
    """The certificate as it is stored: the encrypted key in place of the key."""
    secret = SecretStr(sealed) if sealed else None
    return certificate.model_copy(update={"private_key": None, "sealed_key": secret})


def kept_key(certificate: Certificate, stored: Resource | None) -> str | None:
    """The encrypted key that is stored, if it is that of the certificate."""
    if not isinstance(stored, Certificate) or not stored.sealed or certificate.files is not None:
        return None
    return stored.sealed if stored.public_key == certificate.public_key else None


def ending(certificates: Iterable[Certificate], now: float) -> Iterable[tuple[str, str]]:
    """Name and warning of each certificate that has ended, or ends soon."""
    for one in certificates:
        if one.ends is not None and (detail := ending_at(one.ends, now)):
            yield one.name, detail


def ending_at(end: datetime, now: float) -> str:
    """The warning about a certificate that ends at this time; empty if that is far off."""
    moment = datetime.fromtimestamp(now, UTC)
    if end <= moment:
        return f"expired on {end:%Y-%m-%d}"
    return f"expires on {end:%Y-%m-%d}, in {(end - moment).days} days" if end - moment < SOON else ""


def _chain(pem: str) -> Sequence[x509.Certificate]:
    """The certificates; none if it is not PEM, which the type of the field reports."""
    try:
        return x509.load_pem_x509_certificates(pem.encode("ascii"))
    except ValueError:
        return ()


def _key(pem: str) -> PrivateKeyTypes | None:
    try:
        return load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _public(key: Any) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return made
