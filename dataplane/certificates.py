"""The node's certificates: the supervisor reads the files, sends them to the workers, and reads them again on changes.

Workers get bytes over the channel, so a worker that starts while files are being replaced has the same certificates as
the others. Invalid or half-written files are logged once; the last valid certificates stay in use.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataplane.proxy.tls import BadChain, Chain, client_context, names_of, server_context

CHECK_EVERY = 3.0
"""Seconds between two checks of the files."""
_CERTIFICATES = (".crt", ".pem", ".cert")

_log = logging.getLogger(__name__)


class BadFiles(ValueError):
    """Files without a valid certificate and key; the message names them in one line."""


@dataclass(frozen=True, slots=True)
class NodeCertificates:
    """The certificates of the node."""

    downstream: tuple[Chain, ...] = ()
    """Server certificates, selected by SNI; the first is the default."""
    upstream: Chain | None = None
    """Client certificate for instances that ask for one."""

    def to_bytes(self) -> bytes:
        """Serialize for the channel, as JSON."""
        pairs = [[chain.certificate.decode("latin-1"), chain.key.decode("latin-1")] for chain in self._all()]
        return json.dumps({"downstream": len(self.downstream), "pairs": pairs}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> NodeCertificates:
        """The inverse of `to_bytes`."""
        fields = json.loads(data)
        chains = [Chain(*(text.encode("latin-1") for text in pair)) for pair in fields["pairs"]]
        downstream = fields["downstream"]
        return cls(tuple(chains[:downstream]), chains[downstream] if downstream < len(chains) else None)

    def _all(self) -> Iterator[Chain]:
        yield from self.downstream
        if self.upstream is not None:
            yield self.upstream


def read_certificates(
    places: Sequence[str], cert: Path | None = None, key: Path | None = None
) -> NodeCertificates:
    """Read and check the certificates and keys. `places`: "certificate:key" paths, or folders. Raises BadFiles."""
    pairs = [pair for place in places for pair in _pairs(place)]
    upstream = _read_pair(cert, key, server=False) if cert is not None and key is not None else None
    return NodeCertificates(tuple(_read_pair(*pair, server=True) for pair in pairs), upstream)


def _pairs(place: str) -> Iterator[tuple[Path, Path]]:
    folder = Path(place)
    if folder.is_dir():
        found = sorted(_pairs_in(folder))
        if not found:
            raise BadFiles(f"{place} holds no NAME.crt or NAME.pem beside a NAME.key")
        yield from found
        return
    cert, colon, key = place.partition(":")
    if not colon or not cert or not key:
        raise BadFiles(f"{place!r} is neither a folder nor certificate:key")
    yield Path(cert), Path(key)


def _pairs_in(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Pairs in the folder and its direct subfolders. Hidden entries are versions of a Kubernetes volume: skipped."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        inner = path.iterdir() if path.is_dir() else (path,)
        for key in (inner_path for inner_path in inner if inner_path.suffix == ".key"):
            for suffix in _CERTIFICATES:
                if (cert := key.with_suffix(suffix)).exists():
                    yield cert, key
                    break


def _read_pair(cert: Path, key: Path, *, server: bool) -> Chain:
    chain = Chain(_read(cert), _read(key))
    try:
        names_of(chain)
    except (ValueError, IndexError):
        raise BadFiles(f"{cert} holds no PEM certificate") from None
    try:
        if server:
            server_context(chain)
        else:
            client_context(chain.certificate.decode("latin-1"), chain)
    except BadChain:
        raise BadFiles(f"{key} is not the unencrypted private key of {cert}") from None
    return chain


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFiles(f"cannot read {path}: {error.strerror}") from None


class CertificateWatcher:
    """Checks the files every few seconds, and at once when `check_now` is called."""

    def __init__(
        self,
        read_files: Callable[[], NodeCertificates],
        on_change: Callable[[NodeCertificates], None],
        every: float = CHECK_EVERY,
    ) -> None:
        """`on_change` is called with every new set of certificates. Raises BadFiles when the first one is invalid."""
        self._read = read_files
        self._on_change = on_change
        self._every = every
        self._now = asyncio.Event()
        self._last_problem = ""
        self.current = read_files()

    def check_now(self) -> None:
        """Check the files now, and log the result."""
        self._now.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            asked = await self._next_check()
            try:
                # In a thread, because parsing keys is slow.
                found = await asyncio.to_thread(self._read)
            except BadFiles as error:
                self._report_problem(str(error), asked)
            else:
                self._adopt(found, asked)

    async def _next_check(self) -> bool:
        """Wait for the next check. True when `check_now` requested it."""
        try:
            async with asyncio.timeout(self._every):
                await self._now.wait()
        except TimeoutError:
            return False
        self._now.clear()
        return True

    def _report_problem(self, what: str, asked: bool) -> None:
        if asked or what != self._last_problem:
            _log.error("new certificates are invalid, the old ones stay in use: %s", what)
        self._last_problem = what

    def _adopt(self, found: NodeCertificates, asked: bool) -> None:
        self._last_problem = ""
        if found != self.current:
            self.current = found
            self._on_change(found)
            _log.info("new certificates are in use", extra={"certificates": len(found.downstream)})
        elif asked:
            _log.info("certificates are unchanged", extra={"certificates": len(found.downstream)})
