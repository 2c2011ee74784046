"""Encrypted connections, with and without a certificate of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import headgate
from headgate import ServiceDefinition, Unavailable
from tests.support.certificates import Authority
from tests.support.fake_registry import TOKEN, FakeRegistry


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
async def guarded(authority: Authority) -> AsyncIterator[FakeRegistry]:
    """A registry that only talks to clients with a certificate of the authority."""
    certificate, key = authority.issue("controlplane")
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())], authority.certificate.read_bytes(), True
    )
    registry = FakeRegistry()
    await registry.start(credentials)
    yield registry
    await registry.stop()


async def test_mutual_tls(guarded: FakeRegistry, authority: Authority) -> None:
    cert, key = authority.issue("service")
    options = {"token": TOKEN, "ca": authority.certificate, "cert": cert, "key": key}
    async with headgate.connect(guarded.address, **options) as gateway:  # type: ignore[arg-type]
        assert await gateway.registry.get_services() == []


async def test_from_the_environment(
    guarded: FakeRegistry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = authority.issue("service")
    for name, value in (
        ("CONTROLPLANE", guarded.address),
        ("TOKEN", TOKEN),
        ("CA", authority.certificate),
        ("CERT", cert),
        ("KEY", key),
    ):
        monkeypatch.setenv(f"HEADGATE_{name}", str(value))
    async with headgate.register(ServiceDefinition("orders"), port=9001) as registration:
        assert registration.registered


async def test_no_certificate_of_our_own(guarded: FakeRegistry, authority: Authority) -> None:
    with pytest.raises(Unavailable):
        async with headgate.connect(guarded.address, token=TOKEN, ca=authority.certificate):
            pass


async def test_an_authority_that_we_do_not_trust(guarded: FakeRegistry, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other", "somebody else")
    cert, key = stranger.issue("service")
    with pytest.raises(Unavailable, match=r"does not answer: .*CERTIFICATE_VERIFY_FAILED"):
        async with headgate.connect(
            guarded.address, token=TOKEN, ca=stranger.certificate, cert=cert, key=key
        ):
            pass


async def test_plain_text_to_a_guarded_port(guarded: FakeRegistry) -> None:
    with pytest.raises(Unavailable):
        async with headgate.connect(guarded.address, token=TOKEN):
            pass
