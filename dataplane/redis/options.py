"""The address of Redis: read from the settings by the supervisor and passed to its workers over their channel."""

from __future__ import annotations

import json
import ssl
from dataclasses import asdict, dataclass, field
from functools import cache
from urllib.parse import unquote, urlsplit

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """One Redis server, or the Sentinels or the Cluster that provide it."""

    servers: tuple[Address, ...]
    """The server; with `sentinel` the Sentinels; with `cluster` some of its nodes."""
    sentinel: str = ""
    """Name by which the Sentinels know the server; empty: there are none."""
    cluster: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    database: int = 0
    tls: bool = False
    ca: str = ""
    """Trusted authorities, PEM; empty: the system's."""
    cert: str = ""
    """Path of the certificate that is shown to Redis, PEM; empty: none."""
    key: str = ""
    """Path of its private key."""
    prefix: str = ""
    """Prefix of every key."""
    timeout: float = 0.02
    """Seconds in which a request's limits must be answered."""

    def to_json(self) -> str:
        """Serialize for the channel to a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> RedisOptions:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        fields["servers"] = tuple((host, port) for host, port in fields["servers"])
        return cls(**fields)

    def context(self) -> ssl.SSLContext | None:
        """TLS settings of connections; None without TLS."""
        return _context(self.ca, self.cert, self.key) if self.tls else None


@cache
def _context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Made once, because reading the system's authorities takes a while. Raises OSError."""
    context = ssl.create_default_context(cadata=ca or None)
    if cert:
        # The password callback keeps OpenSSL from asking at the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    return context


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Parse a URL redis[s]://[[user]:password@]host[:port][/database], as redis.io's clients do."""

    host: str
    port: int
    user: str
    password: str
    database: int
    tls: bool


def read_url(url: str) -> RedisUrl:
    """Raises ValueError with the reason, which quotes nothing: the URL may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        more = "percent-encode / ? # @ and % in the password"
        raise ValueError(f"is not redis[s]://[[user]:password@]host[:port][/database]; {more}") from None
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("must begin with redis:// or rediss://")
    if not host:
        raise ValueError("has no host")
    if parts.query or parts.fragment:
        raise ValueError("must not have parameters after ? or #: use the other REDIS_ settings")
    if database < 0:
        raise ValueError("must not have a negative database number")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return RedisUrl(host, port, user, password, database, parts.scheme == "rediss")
