"""Where the control plane is and how to prove who we are: arguments first, then the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from headgate.errors import HeadgateError

DEFAULT_ADDRESS = "127.0.0.1:50051"
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")

Token = str | Callable[[], str]
"""A bearer credential, or a function that returns the present one (asked before every call)."""


@dataclass(frozen=True)
class Target:
    """One or more addresses of the same fleet of control planes, and the credentials for them."""

    addresses: tuple[str, ...]
    token: Token | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def make(
        cls,
        addresses: str | None = None,
        *,
        token: Token | None = None,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
    ) -> Target:
        """Fill what is left out from HEADGATE_CONTROLPLANE, _TOKEN, _CA, _CERT and _KEY."""
        listed = addresses or os.environ.get("HEADGATE_CONTROLPLANE") or DEFAULT_ADDRESS
        target = cls(
            addresses=tuple(part.strip() for part in listed.split(",") if part.strip()),
            token=token or os.environ.get("HEADGATE_TOKEN") or None,
            ca=_path(ca, "HEADGATE_CA"),
            cert=_path(cert, "HEADGATE_CERT"),
            key=_path(key, "HEADGATE_KEY"),
        )
        target._check()
        return target

    @property
    def hosts_and_ports(self) -> list[tuple[str, int]]:
        """The addresses, taken apart."""
        parts = (address.rpartition(":") for address in self.addresses)
        return [(host.strip("[]"), int(port)) for host, _, port in parts]

    @property
    def bearer(self) -> str | None:
        """The credential to send now."""
        return self.token() if callable(self.token) else self.token

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS as soon as a CA or a certificate is given, plain text otherwise."""
        if self.ca is None and self.cert is None:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.ca),
            private_key=_read("key", self.key),
            certificate_chain=_read("cert", self.cert),
        )

    def _check(self) -> None:
        if not self.addresses:
            raise HeadgateError(
                "no address of a control plane is given: pass one, or set HEADGATE_CONTROLPLANE"
            )
        for address in self.addresses:
            match = _ADDRESS.fullmatch(address)
            if not match or not 0 < int(match["port"]) < 65536:
                raise HeadgateError(f"{address!r} is not an address of a control plane: write host:port")
        if (self.cert is None) != (self.key is None):
            raise HeadgateError("a client certificate needs both cert and key (HEADGATE_CERT, HEADGATE_KEY)")


def _path(given: str | os.PathLike[str] | None, variable: str) -> Path | None:
    chosen = given or os.environ.get(variable)
    return Path(chosen) if chosen else None


def _read(what: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise HeadgateError(f"{what}: cannot read {path}: {error.strerror}") from error
