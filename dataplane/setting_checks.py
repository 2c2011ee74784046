"""Settings that do not fit each other: a sentence for each problem."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from dataplane.certificates import BadFiles, read_certificates
from dataplane.setting_types import Places, split_address


def incomplete(given: set[str]) -> Iterator[str]:
    """Settings that need another one, or exclude it. `given` are the names of those that are set."""
    if ("controlplane_cert" in given) != ("controlplane_key" in given):
        yield "CONTROLPLANE_CERT and CONTROLPLANE_KEY must be set together"
    if "controlplane_cert" in given and "controlplane_ca" not in given:
        yield "CONTROLPLANE_CERT needs CONTROLPLANE_CA"
    pairs = ("tls_listen", "tls_certs"), ("upstream_cert", "upstream_key"), ("redis_cert", "redis_key")
    for one, other in pairs:
        if (one in given) != (other in given):
            yield f"{one.upper()} and {other.upper()} must be set together"
    if {"dataplane_token", "dataplane_token_file"} <= given:
        yield "DATAPLANE_TOKEN and DATAPLANE_TOKEN_FILE must not both be set"
    if {"redis_sentinels", "redis_cluster"} <= given:
        yield "REDIS_SENTINELS and REDIS_CLUSTER must not both be set"
    if not given & {"dataplane_token", "dataplane_token_file", "controlplane_cert"}:
        what = "at least 16 random characters, the same as on the control planes"
        more = "or set DATAPLANE_TOKEN_FILE, or CONTROLPLANE_CERT to authenticate by a certificate"
        yield f"DATAPLANE_TOKEN: is not set ({what}; {more})"


def check_pair(cert: Path | None, key: Path | None) -> None:
    """Raise ValueError when the key is not that of the certificate, or OSError when a file cannot be read.

    gRPC would fail to connect without a reason. None for either: nothing to check.
    """
    if cert is None or key is None:
        return
    try:
        # The password callback keeps OpenSSL from asking at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError:
        raise ValueError(f"{key} is not the unencrypted private key of {cert}") from None


def mismatched(name: str, cert: Path | None, key: Path | None) -> Iterator[str]:
    """A key that is not that of the certificate. `name` is the setting that is blamed."""
    try:
        check_pair(cert, key)
    except (ValueError, OSError) as error:
        yield f"{name}: {error}"


def shared(listen: str, tls_listen: str | None, status_listen: str) -> Iterator[str]:
    """Addresses used twice. Binding would not detect it: with SO_REUSEPORT, a port can be bound any number of times."""
    if tls_listen is None:
        return
    host, port = split_address(tls_listen)
    for name, address in (("LISTEN", listen), ("STATUS_LISTEN", status_listen)):
        other, taken = split_address(address)
        if port == taken and _same(host, other):
            yield f"TLS_LISTEN: {tls_listen} is already used by {name}"


def taken_ports(listen: str, tls_listen: str | None) -> dict[int, str]:
    """The ports of these settings on the host of `listen`, where listeners of the configuration open theirs."""
    host, port = split_address(listen)
    found = {port: "LISTEN"}
    if tls_listen is not None:
        other, secured = split_address(tls_listen)
        if _same(host, other):
            found[secured] = "TLS_LISTEN"
    return found


def _same(host: str, other: str) -> bool:
    return host == other or bool({host, other} & {"0.0.0.0", "::"})  # noqa: S104 - compared with


def unreadable(tls_certs: Places, upstream_cert: Path | None, upstream_key: Path | None) -> Iterator[str]:
    """Certificates and keys that cannot be read."""
    for names, places, upstream in (
        ("TLS_CERTS", tls_certs, (None, None)),
        ("UPSTREAM_CERT, UPSTREAM_KEY", (), (upstream_cert, upstream_key)),
    ):
        try:
            read_certificates(places, *upstream)
        except BadFiles as error:
            yield f"{names}: {error}"
