"""TLS towards etcd: certificates on both sides, and clear words when they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.store import EtcdStore, Put, StoreUnavailable
from controlplane.store.etcd_lease_calls import HandCall
from tests.support.certificates import Authority
from tests.support.etcd import Etcd
from tests.support.waiting import eventually
from tests.support.watching import Watching


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Etcd]:
    with Etcd(tmp_path_factory.mktemp("secure"), authority=authority) as etcd:
        yield etcd


async def test_both_sides_show_certificates(secure: Etcd, authority: Authority) -> None:
    cert, key = authority.issue("client")
    store = EtcdStore(secure.settings(ca=authority.certificate, cert=cert, key=key))
    revision = await store.commit({}, [Put("/k/a", b"1")])
    async with Watching(store, "/k/", revision - 1) as watching:
        await watching.until(1)
    assert watching.values == ["1"]
    await store.close()


async def test_leases_are_renewed_over_connections_of_the_same_trust(
    secure: Etcd, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[str] = []
    connect = HandCall.connect

    async def connected(address, tls, metadata):  # type: ignore[no-untyped-def]
        assert len(tls.get_ca_certs()) == 1, "the authority that is named, and no public one"
        made = await connect(address, tls, metadata)
        ways.append("by hand")
        return made

    monkeypatch.setattr(HandCall, "connect", connected)
    cert, key = authority.issue("client")
    store = EtcdStore(secure.settings(ca=authority.certificate, cert=cert, key=key))
    leases = [await store.grant(30) for _ in range(5)]
    assert await store.keep_alive_all(leases) == dict.fromkeys(leases, 30.0)
    assert ways == ["by hand"]
    await store.close()


async def test_a_server_of_another_authority_is_not_believed(
    secure: Etcd, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.issue("client")
    other = Authority(tmp_path, "another authority")
    store = EtcdStore(secure.settings(ca=other.certificate, cert=cert, key=key))
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate.verify.failed"):
        await store.get("/k/a")
    await store.close()


async def test_the_server_does_not_believe_a_client_without_certificate(
    secure: Etcd, authority: Authority
) -> None:
    store = EtcdStore(secure.settings(ca=authority.certificate))
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{secure.port}"):
        await store.get("/k/a")
    await store.close()


async def test_plain_text_to_a_server_that_speaks_tls(secure: Etcd) -> None:
    store = EtcdStore(secure.settings(endpoints=(f"http://127.0.0.1:{secure.port}",)))
    with pytest.raises(StoreUnavailable):
        await store.get("/k/a")
    await store.close()


async def test_tls_to_a_server_that_speaks_plain_text(etcd: Etcd, authority: Authority) -> None:
    endpoint = f"https://127.0.0.1:{etcd.port}"
    store = EtcdStore(etcd.settings(endpoints=(endpoint,), ca=authority.certificate))
    with pytest.raises(StoreUnavailable):
        await store.get("/k/a")
    await store.close()


RENEWAL_FAILED = "renewed certificates are invalid; the old ones stay in use"


async def test_a_new_connection_uses_renewed_certificates(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = Authority(tmp_path / "other", "another authority").issue("client")
    renewed = authority.issue("renewed")
    with Etcd(tmp_path / "etcd", authority=authority) as etcd:
        store = EtcdStore(etcd.settings(ca=authority.certificate, cert=cert, key=key))

        async def refused() -> bool:
            with pytest.raises(StoreUnavailable):
                await store.get("/k/a")
            return RENEWAL_FAILED in caplog.messages

        assert not await refused()
        key.write_bytes(renewed[1].read_bytes())
        # With TLS 1.3 a connection counts as made until etcd has refused the certificate.
        await eventually(refused)
        cert.write_bytes(renewed[0].read_bytes())
        assert await eventually(lambda: store.grant(30))
        assert caplog.messages.count(RENEWAL_FAILED) == 1
        await store.close()
