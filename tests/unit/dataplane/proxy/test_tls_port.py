"""Certificates of the listeners of a port: which of them a handshake gets, and what a change costs.

Sources: RFC 6066 section 3 (server_name, unrecognized_name), RFC 9525 section 6.3 (wildcards), Gateway API v1.6
(`Listener.hostname`: the most specific match).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from time import process_time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dataplane.proxy.tls import Chain, Served, TlsOptions, TlsPort, TlsSite, names_of
from dataplane.proxy.tls_port import PortFront
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def served(authority: Authority, *hosts: str, name: str = "") -> Served:
    certificate, key = authority.issue(name or hosts[0].replace("*", "any"), hosts=hosts)
    chain = Chain(certificate.read_bytes(), key.read_bytes())
    return Served(chain, names_of(chain))


def handshake(
    front: PortFront, client: ssl.SSLContext, name: str | None, ciphers: str = ""
) -> x509.Certificate:
    """The certificate that a client with this server name is shown. Raises ssl.SSLError."""
    if ciphers:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(ciphers)
    ways = [ssl.MemoryBIO() for _ in range(4)]
    one = client.wrap_bio(ways[0], ways[1], server_hostname=name)
    two = front.context.wrap_bio(ways[2], ways[3], server_side=True)
    done = {one: False, two: False}
    failed: ssl.SSLError | None = None
    for _ in range(8):
        for end, sent, received in ((one, ways[1], ways[2]), (two, ways[3], ways[0])):
            try:
                if not done[end]:
                    end.do_handshake()
                    done[end] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                failed = failed or error
            received.write(sent.read())
    if failed is not None:
        raise failed
    assert all(done.values())
    return x509.load_der_x509_certificate(one.getpeercert(binary_form=True) or b"")


def trusting(authority: Authority) -> ssl.SSLContext:
    context = authority.trusted()
    context.check_hostname = False
    return context


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return list(found.value.get_values_for_type(x509.DNSName))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("shop.org", "shop.org"),
        ("SHOP.org", "shop.org"),
        ("a.shop.org", "*.shop.org"),
        ("api.shop.org", "api.shop.org"),
        # The listener for *.shop.org serves it, and a wildcard covers one label: the listener's first certificate.
        ("a.b.shop.org", "*.shop.org"),
        ("other.org", "rest.org"),
        (None, "rest.org"),
    ],
)
def test_the_server_name_chooses(authority: Authority, name: str | None, shown: str) -> None:
    wild = TlsSite(
        ("shop.org", "*.shop.org"),
        tuple(served(authority, host) for host in ("*.shop.org", "shop.org", "api.shop.org")),
    )
    rest = TlsSite((), (served(authority, "rest.org"),))
    front = PortFront(TlsPort(TlsOptions(), (rest, wild)))
    assert names(handshake(front, trusting(authority), name)) == [shown]


@pytest.mark.parametrize("name", ["other.org", None, "org"])
def test_a_name_that_no_listener_serves_is_refused(authority: Authority, name: str | None) -> None:
    site = TlsSite(("shop.org",), (served(authority, "shop.org"),))
    front = PortFront(TlsPort(TlsOptions(), (site,)))
    with pytest.raises(ssl.SSLError):
        handshake(front, trusting(authority), name)


def test_certificates_of_one_name_may_have_keys_of_two_types(authority: Authority) -> None:
    elliptic = served(authority, "two.org", name="elliptic")
    key = rsa.generate_private_key(65537, 2048)
    certificate = authority.sign("two.org", key.public_key())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = Chain(certificate.public_bytes(Encoding.PEM), pem)
    site = TlsSite((), (elliptic, Served(chain, names_of(chain))))
    front = PortFront(TlsPort(TlsOptions(), (site,)))
    shown = handshake(front, trusting(authority), "two.org", "ECDHE-RSA-AES128-GCM-SHA256")
    assert isinstance(shown.public_key(), rsa.RSAPublicKey)
    shown = handshake(front, trusting(authority), "two.org", "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert not isinstance(shown.public_key(), rsa.RSAPublicKey)


def test_clients_show_a_certificate_where_it_is_required(authority: Authority, tmp_path: Path) -> None:
    site = TlsSite((), (served(authority, "a.org"),))
    ca = authority.certificate.read_text()
    stranger = Authority(tmp_path, "stranger").issue("x")
    for required in (True, False):
        front = PortFront(TlsPort(TlsOptions(client_ca=ca, client_required=required), (site,)))
        without, known, unknown = (trusting(authority) for _ in range(3))
        known.load_cert_chain(*authority.issue("client"))
        unknown.load_cert_chain(*stranger)
        handshake(front, known, "a.org")
        with pytest.raises(ssl.SSLError):
            handshake(front, unknown, "a.org")
        if required:
            with pytest.raises(ssl.SSLError):
                handshake(front, without, "a.org")
        else:
            handshake(front, without, "a.org")


@pytest.mark.parametrize(
    ("options", "version", "taken"),
    [
        (TlsOptions("1.3", "1.3"), ssl.TLSVersion.TLSv1_2, False),
        (TlsOptions("1.2", "1.2"), ssl.TLSVersion.TLSv1_3, False),
        (TlsOptions(), ssl.TLSVersion.TLSv1_2, True),
        (TlsOptions(), ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_versions(authority: Authority, options: TlsOptions, version: ssl.TLSVersion, *, taken: bool) -> None:
    front = PortFront(TlsPort(options, (TlsSite((), (served(authority, "a.org"),)),)))
    client = trusting(authority)
    client.minimum_version = client.maximum_version = version
    if taken:
        handshake(front, client, "a.org")
        return
    with pytest.raises(ssl.SSLError):
        handshake(front, client, "a.org")


def test_a_change_keeps_everything_else(authority: Authority) -> None:
    """The figure: of 1,000 certificates one changes, and is served."""
    one, two = served(authority, "base.org"), served(authority, "new.org")
    many = [Served(one.chain, (f"h{number}.org", f"*.h{number}.org")) for number in range(1000)]
    front = PortFront(TlsPort(TlsOptions(), (TlsSite((), tuple(many)),)))
    before = front.context, front.find("h7.org")
    many[500] = Served(two.chain, ("h500.org",))
    changed = TlsPort(TlsOptions(), (TlsSite((), tuple(many)),))
    began = process_time()
    front.adopt(changed)
    context = front.find("h500.org")
    took = process_time() - began
    assert (front.context, front.find("h7.org")) == before and context is not before[1]
    assert names(handshake(front, trusting(authority), "h500.org")) == ["new.org"]
    assert took < 0.05, "5 ms on a quiet machine"


def test_a_change_of_the_settings_makes_new_contexts(authority: Authority) -> None:
    site = TlsSite((), (served(authority, "a.org"),))
    front = PortFront(TlsPort(TlsOptions(), (site,)))
    before = front.context
    front.adopt(TlsPort(TlsOptions("1.3"), (site,)))
    assert front.context is not before
    assert front.context.minimum_version == ssl.TLSVersion.TLSv1_3
