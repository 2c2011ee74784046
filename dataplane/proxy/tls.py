"""TLS at both edges: certificates chosen by name for clients, and contexts for connections to instances.

TLS 1.2 and 1.3 only, suites with forward secrecy and authenticated encryption (RFC 9325 section 4), HTTP/1.1 as the one
protocol in ALPN (RFC 7301). Certificates come as bytes and may be changed at any time: later handshakes use the new
ones, and open connections do not change.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; all suites of TLS 1.3 are secure."""
_ALPN: Final = ["http/1.1"]
_REMEMBERED: Final = 1_000
ASKED_FOR: Final = "asked_for"
"""Attribute of a connection's object of the library: the server name of its handshake, in lower case (SNI)."""
_VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class BadChain(ValueError):
    """A certificate and a key that cannot be used together."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate with its chain of intermediates, and its private key: both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def names_of(chain: Chain) -> tuple[str, ...]:
    """Names that the certificate is for, lower case: its DNS names, or the common name of one without any."""
    certificate = x509.load_pem_x509_certificates(chain.certificate)[0]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).lower() for name in common)
    return tuple(name.lower() for name in found.value.get_values_for_type(x509.DNSName))


def end_of(chain: Chain) -> float:
    """The end of the certificate's validity, Unix seconds. Raises ValueError."""
    return x509.load_pem_x509_certificates(chain.certificate)[0].not_valid_after_utc.timestamp()


def server_context(chain: Chain) -> ssl.SSLContext:
    """The TLS context of client connections that are presented this chain. Raises BadChain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(_SUITES)
    context.set_alpn_protocols(_ALPN)
    # Every connection gets a new one, and TLS 1.3 would send two.
    context.num_tickets = 1
    _load(context, chain)
    return context


class Front:
    """The certificates shown to clients."""

    context: ssl.SSLContext
    """For the next handshake."""

    def __init__(self, chains: Iterable[Chain]) -> None:
        """The first of `chains` is the default: for clients without a server name, or with an unknown one."""
        self._by_name: Mapping[str, ssl.SSLContext] = {}
        self.adopt(chains)

    def adopt(self, chains: Iterable[Chain]) -> None:
        """Use these from the next handshake on. Raises BadChain; then nothing has changed.

        Earlier sessions can no longer be resumed.
        """
        made = [(names_of(chain), server_context(chain)) for chain in chains]
        by_name: dict[str, ssl.SSLContext] = {}
        for names, context in made:
            for name in names:
                by_name.setdefault(name, context)
        self._by_name, self.context = by_name, made[0][1]
        if len(made) > 1:
            self.context.sni_callback = self._choose

    def find(self, name: str | None) -> ssl.SSLContext:
        """By the exact name, else by a wildcard for its first label (RFC 9525 section 6.3), else the default."""
        name = (name or "").lower().rstrip(".")
        wildcard = f"*.{name.partition('.')[2]}"
        return self._by_name.get(name) or self._by_name.get(wildcard) or self.context

    def _choose(self, connection: ssl.SSLObject, name: str | None, shown: ssl.SSLContext) -> None:
        found = self.find(name)
        # The change copies certificates, and costs more than all the rest of this.
        if found is not shown:
            connection.context = found


def site_context(options: TlsOptions, chains: Iterable[Chain]) -> ssl.SSLContext:
    """The context of connections to a port of listeners; `chains` have keys of different types. Raises BadChain."""
    first, *others = chains
    context = server_context(first)
    for chain in others:
        _load(context, chain)
    context.minimum_version, context.maximum_version = _VERSIONS[options.minimum], _VERSIONS[options.maximum]
    if options.client_ca:
        context.load_verify_locations(cadata=options.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if options.client_required else ssl.CERT_OPTIONAL
    return context


def client_context(ca: str, chain: Chain | None) -> ssl.SSLContext:
    """For connections to instances that one of the authorities in `ca` (PEM; empty: the system's) vouches for.

    `chain` is presented to instances that ask for a client certificate. Raises BadChain.
    """
    context = ssl.create_default_context(cadata=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.set_alpn_protocols(_ALPN)
    if chain is not None:
        _load(context, chain)
    return context


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A checked certificate of a listener. Compared by identity: an unchanged one keeps its contexts."""

    chain: Chain
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS settings of a port."""

    minimum: str = "1.2"
    maximum: str = "1.3"
    client_ca: str = ""
    """Authorities of clients' certificates, PEM; empty: clients are not asked."""
    client_required: bool = False


@dataclass(frozen=True, slots=True)
class TlsSite:
    """A listener of a port: the hosts that it serves (none: every host), and its certificates, the default first."""

    hostnames: tuple[str, ...]
    certificates: tuple[Served, ...]


@dataclass(frozen=True, slots=True)
class TlsPort:
    """Everything about TLS on one port."""

    options: TlsOptions
    sites: tuple[TlsSite, ...]


class ClientContexts:
    """Contexts for connections to instances, by authority. Server names are given with each connection."""

    def __init__(self) -> None:
        self._chain: Chain | None = None
        self._made: dict[str, asyncio.Future[ssl.SSLContext]] = {}

    def adopt(self, chain: Chain | None) -> None:
        """Show this certificate on connections from now on."""
        self._chain = chain
        self._made = {}

    async def get(self, ca: str) -> ssl.SSLContext:
        """The context for this authority; made once, in a thread, because reading the system's takes a while."""
        made = self._made
        making = made.get(ca)
        if making is None:
            if len(made) >= _REMEMBERED:
                made.clear()
            loop = asyncio.get_running_loop()
            making = made[ca] = loop.run_in_executor(None, client_context, ca, self._chain)
        try:
            # A cancelled caller must not cancel it for the others.
            return await asyncio.shield(making)
        except BaseException:
            if making.done() and made.get(ca) is making and (making.cancelled() or making.exception()):
                del made[ca]
            raise


def _load(context: ssl.SSLContext, chain: Chain) -> None:
    with _as_file(chain.key + b"\n" + chain.certificate) as path:
        try:
            # The password callback keeps OpenSSL from asking at the terminal.
            context.load_cert_chain(path, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise BadChain("not a certificate and its unencrypted private key") from error


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """OpenSSL reads keys only from files; if the system supports it, this file has no name on a disk."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("headgate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
