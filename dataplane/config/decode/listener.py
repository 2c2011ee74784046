"""Decodes listeners and their certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.config.decode.words import ROUTE_HOST, is_pem
from dataplane.config.items import ServerCertificate
from dataplane.gateway.policy import resources as policy
from dataplane.proxy.tls import Chain, Served, end_of, names_of
from dataplane.proxy.trust import TrustedProxies
from headgate_api.v1 import resources_pb2 as pb

_PROTOCOLS: Final[Mapping[int, str]] = {
    pb.LISTENER_PROTOCOL_HTTP: "http",
    pb.LISTENER_PROTOCOL_HTTPS: "https",
}
_VERSIONS: Final = ("1.2", "1.3")
_CLIENT: Final = ("", "optional", "required")


def read_listener(resource: pb.Resource, check: Checker) -> policy.Listener:
    """The listener of a resource."""
    body = resource.listener
    check.between("port", body.port, 1, 65535)
    if resource.name == policy.DEFAULT_LISTENER:
        check.wrong("name", f"{resource.name!r} is the listener of this data plane's settings")
    protocol = check.choice("protocol", body.protocol, _PROTOCOLS, "http")
    if protocol == "https":
        _check_tls(body, check)
    try:
        TrustedProxies(body.proxy_protocol_from)
    except ValueError as error:
        check.wrong("proxy_protocol_from", str(error))
    return policy.Listener(
        name=check.name("name", resource.name),
        port=body.port,
        hostnames=check.each(
            "hostnames", body.hostnames, ROUTE_HOST, "a host name in lower case without port"
        ),
        protocol=protocol,
        certificates=tuple(body.certificates),
        tls_min=body.tls_min or "1.2",
        tls_max=body.tls_max or "1.3",
        client_certificate=body.client_certificate,
        client_ca=body.client_ca,
        proxies=tuple(body.proxy_protocol_from),
    )


def _check_tls(body: pb.Listener, check: Checker) -> None:
    """What is not understood must not make the port less secure."""
    if not body.certificates:
        check.wrong("certificates", "must name at least one with protocol https")
    for name, version in (("tls_min", body.tls_min), ("tls_max", body.tls_max)):
        if version and version not in _VERSIONS:
            check.wrong(name, f"{version!r} is not known to this version")
    if body.client_certificate not in _CLIENT:
        check.wrong("client_certificate", f"{body.client_certificate!r} is not known to this version")
    if bool(body.client_ca) != bool(body.client_certificate):
        check.wrong("client_ca", "must be given together with client_certificate")
    if body.client_ca and not is_pem(body.client_ca):
        check.wrong("client_ca", "holds no certificate in PEM")


def read_certificate(resource: pb.Resource, check: Checker) -> ServerCertificate:
    """The certificate of a resource. The supervisor checks that the key belongs to it (`config.apply`)."""
    body = resource.certificate
    name = check.name("name", resource.name)
    chain = Chain(body.certificate.encode(), body.private_key.encode())
    names: tuple[str, ...] = ()
    not_after = 0.0
    try:
        names, not_after = names_of(chain), end_of(chain)
    except (ValueError, IndexError):
        check.wrong("certificate", "holds no certificate in PEM")
    if not body.private_key:
        check.wrong("private_key", "is missing")
    return ServerCertificate(name, Served(chain, names), not_after, body.HasField("files"))
