"""The address of the control plane and the credentials: from arguments first, then from the environment."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import grpc

from headgate import settings_file
from headgate.errors import HeadgateError, Misconfigured
from headgate.settings_file import FileSettings

log = logging.getLogger("headgate")

DEFAULT_ADDRESS = "127.0.0.1:50051"
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")

_TOKEN = re.compile(r"[!-~]{1,8192}")

Token = str | Callable[[], str]
"""A bearer credential, or a function that returns the current one (called before every call)."""


@dataclass(frozen=True)
class Target:
    """One or more addresses of the same fleet of control planes, and the credentials for them."""

    addresses: tuple[str, ...]
    token: Token | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False
    """Whether a token may be sent in plain text to any other machine."""
    file: FileSettings = field(default_factory=FileSettings)
    """The operator's settings, among them the hosts to which a token may be sent in plain text."""

    @classmethod
    def make(
        cls,
        addresses: str | None = None,
        *,
        token: Token | None = None,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        insecure: bool | None = None,
    ) -> Target:
        """Take missing arguments from HEADGATE_CONTROLPLANE, _TOKEN or _TOKEN_FILE, _CA, _CERT, _KEY and _INSECURE.

        The rest comes from the file that HEADGATE_CONFIG names. Raises Misconfigured.
        """
        file = settings_file.load()
        listed = addresses or os.environ.get("HEADGATE_CONTROLPLANE") or file.controlplane or DEFAULT_ADDRESS
        target = cls(
            addresses=tuple(part.strip() for part in listed.split(",") if part.strip()),
            token=_stripped(token) or _token(file.token_file),
            ca=_path(ca, "HEADGATE_CA", file.ca),
            cert=_path(cert, "HEADGATE_CERT", file.cert),
            key=_path(key, "HEADGATE_KEY", file.key),
            file=file,
            insecure=_switch("HEADGATE_INSECURE") if insecure is None else insecure,
        )
        target._check()
        return target

    @property
    def hosts_and_ports(self) -> list[tuple[str, int]]:
        """The addresses, taken apart."""
        parts = (address.rpartition(":") for address in self.addresses)
        return [(host.strip("[]"), int(port)) for host, _, port in parts]

    @property
    def encrypted(self) -> bool:
        """TLS as soon as a CA or a certificate is given, plain text otherwise."""
        return self.ca is not None or self.cert is not None

    @property
    def bearer(self) -> str | None:
        """The credential to send now. Raises HeadgateError."""
        return _asked(self.token) if callable(self.token) else self.token

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that secure a connection."""
        return tuple(path for path in (self.ca, self.cert, self.key) if path is not None)

    def stamps(self) -> tuple[object, ...]:
        """Differs if one of the files may have changed. The inode is included because mounted secrets are swapped."""
        return tuple(map(_stamp, self.files))

    def credentials(self) -> grpc.ChannelCredentials | None:
        """For TLS, from the files as they are now; None for plain text. Raises HeadgateError."""
        if not self.encrypted:
            return None
        _check_pair(self.cert, self.key)
        return grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.ca),
            private_key=_read("key", self.key),
            certificate_chain=_read("cert", self.cert),
        )

    def _check(self) -> None:
        if not self.addresses:
            raise Misconfigured(
                "no address of a control plane is given: pass one, or set HEADGATE_CONTROLPLANE"
            )
        for address in self.addresses:
            match = _ADDRESS.fullmatch(address)
            if not match or not 0 < int(match["port"]) < 65536:
                raise Misconfigured(f"{address!r} is not an address of a control plane: write host:port")
        if (self.cert is None) != (self.key is None):
            raise Misconfigured("a client certificate needs both cert and key (HEADGATE_CERT, HEADGATE_KEY)")
        far = [] if self.encrypted or self.insecure or not self.token else self._far()
        if far:
            raise Misconfigured(
                f"the token would travel to {', '.join(far)} in plain text, where others may read it: give the "
                "authority of its certificate (ca=, HEADGATE_CA), or, where the network itself is trusted, name the "
                f"host in plain_text_to of {settings_file.DEFAULT_PATH} (HEADGATE_CONFIG names another file) or set "
                "HEADGATE_INSECURE=true"
            )

    def _far(self) -> list[str]:
        """The addresses that may be another machine, and are not in a network that the operator trusts."""
        near = [_is_loopback(host) or self.file.trusts(host) for host, _ in self.hosts_and_ports]
        return [address for address, here in zip(self.addresses, near, strict=True) if not here]


def _asked(source: Callable[[], str]) -> str:
    """The token of a program's own function, which may fail in any way."""
    try:
        return _checked(source())
    except HeadgateError:
        raise
    except Exception as error:
        raise HeadgateError(f"the function that gives the token failed: {error!r}") from error


def _stripped(token: Token | None) -> Token | None:
    """Without the line end that a token read from a file has."""
    if not isinstance(token, str):
        return token
    return _checked(token) if token.strip() else None


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(stripped := token.strip()):
        raise Misconfigured(
            "the token that was given is none: a token has no spaces, and no 'Bearer' before it"
        )
    return stripped


def token_file(path: str | os.PathLike[str]) -> Callable[[], str]:
    """A token in the first line of a file, which is read again whenever it changes, and when the token has expired. So
    the file may be a token of a service account, which kubelet renews.

    The returned function raises HeadgateError only if the file could never be read.
    """
    return _TokenFile(Path(path))


class _TokenFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = ()  # unlike any stamp
        self._token = ""
        self._expires: float | None = None

    def __repr__(self) -> str:
        return f"token_file({str(self._path)!r})"

    def __call__(self) -> str:
        changed = (stamp := _stamp(self._path)) != self._seen
        if changed or self._expired():
            self._seen = stamp
            try:
                self._token = _first_line(self._path)
            except HeadgateError as error:
                if not self._token:
                    raise
                if changed:
                    log.warning("the renewed token is of no use, the old one stays: %s", error)
            self._expires = _expiry(self._token)
        return self._token

    def _expired(self) -> bool:
        return self._expires is not None and self._expires <= time.time()


def _expiry(token: str) -> float | None:
    """Unix seconds at which a JWT expires; None for other tokens."""
    try:
        claims = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return float(found)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _first_line(path: Path) -> str:
    lines = (_read("token", path) or b"").decode("ascii", "replace").splitlines()
    token = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
    if not _TOKEN.fullmatch(token):
        raise Misconfigured(f"token: {path} holds none")
    return token


def _token(configured: str | None = None) -> Token | None:
    if given := os.environ.get("HEADGATE_TOKEN", "").strip():
        if not _TOKEN.fullmatch(given):
            raise Misconfigured(
                "HEADGATE_TOKEN is not a token: a token has no spaces, and no 'Bearer' before it"
            )
        return given
    named = os.environ.get("HEADGATE_TOKEN_FILE")
    path = named or configured
    if not path:
        return None
    read = token_file(path)
    try:
        read()  # otherwise it would fail only at the first call
    except HeadgateError as error:
        raise Misconfigured(f"{'HEADGATE_TOKEN_FILE' if named else 'token_file'}: {error}") from None
    return read


def present_token() -> str | None:
    """The credential in HEADGATE_TOKEN, or in the file that HEADGATE_TOKEN_FILE names. Raises HeadgateError."""
    token = _token()
    return token() if callable(token) else token


def _switch(variable: str) -> bool:
    given = os.environ.get(variable, "").lower()
    if given not in ("", "0", "1", "false", "true", "no", "yes"):
        raise Misconfigured(f"{variable} must be true or false")
    return given in ("1", "true", "yes")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _check_pair(cert: Path | None, key: Path | None) -> None:
    """gRPC itself would only fail to connect, without a reason."""
    if cert is None or key is None:
        return
    _read("cert", cert), _read("key", key)
    try:
        # The password callback keeps OpenSSL from asking at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError:
        raise Misconfigured(f"key: {key} is not the unencrypted private key of {cert}") from None


def _path(given: str | os.PathLike[str] | None, variable: str, configured: str | None) -> Path | None:
    chosen = given or os.environ.get(variable) or configured
    return Path(chosen) if chosen else None


def _read(what: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{what}: cannot read {path}: {error.strerror}") from None
