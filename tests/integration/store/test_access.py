"""Passwords and tokens: renewed when etcd has forgotten them, refused for good when they are wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from controlplane.store import AccessDenied, EtcdStore, Put
from tests.support.etcd import Etcd
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.watching import Watching

PASSWORD = "s3cret-of-the-test"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """An etcd that asks for a password and forgets tokens after a second without use."""
    flags = ["--auth-token=simple", "--auth-token-ttl=1", "--bcrypt-cost=4"]
    with Etcd(tmp_path_factory.mktemp("guarded"), flags=flags) as etcd:
        etcd.require_password("gate", PASSWORD, "/ours/")
        yield etcd


@pytest.fixture
def prefix() -> str:
    return f"/ours/{uuid.uuid4()}/"


def root_token(etcd: Etcd) -> str:
    return str(etcd.ask("auth/authenticate", {"name": "root", "password": "root"})["token"])


async def test_a_user_reads_writes_and_watches(guarded: Etcd, prefix: str) -> None:
    store = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    await store.status()
    lease = await store.grant(10)
    revision = await store.commit({}, [Put(prefix + "a", b"1", lease)])
    assert await store.keep_alive(lease) > 0
    async with Watching(store, prefix, revision - 1) as watching:
        await watching.until(1)
    await store.revoke(lease)
    await store.close()


async def test_an_expired_token_is_renewed_in_calls(guarded: Etcd, prefix: str) -> None:
    store = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    revision = await store.commit({}, [Put(prefix + "a", b"1")])
    await expired(guarded, store)
    await store.commit({prefix + "a": revision}, [Put(prefix + "a", b"2")])
    await store.close()


async def test_an_expired_token_is_renewed_in_renewals_of_leases(guarded: Etcd, prefix: str) -> None:
    async with Proxy(guarded.port) as proxy:
        store = EtcdStore(guarded.settings(endpoints=(proxy.url,), username="gate", password=PASSWORD))
        leases = [await store.grant(30) for _ in range(2)]
        assert await store.keep_alive(leases[0]) > 0
        await expired(guarded, store)
        proxy.cut()
        assert await store.keep_alive(leases[1]) > 0
        await store.close()


async def test_an_expired_token_is_renewed_in_a_watch(guarded: Etcd, prefix: str) -> None:
    writer = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    async with Proxy(guarded.port) as proxy:
        store = EtcdStore(guarded.settings(endpoints=(proxy.url,), username="gate", password=PASSWORD))
        start = await writer.commit({}, [Put(prefix + "n", b"start")])
        async with Watching(store, prefix, start) as watching:
            await writer.commit({}, [Put(prefix + "n", b"1")])
            await watching.until(1)
            await expired(guarded, store)
            proxy.cut()
            await writer.commit({}, [Put(prefix + "n", b"2")])
            await watching.until(2)
        await store.close()
    await writer.close()
    assert watching.values == ["1", "2"]


async def test_etcd_restarts_and_has_forgotten_all_tokens(guarded: Etcd, prefix: str) -> None:
    store = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    start = await store.commit({}, [Put(prefix + "n", b"start")])
    async with Watching(store, prefix, start) as watching:
        await store.commit({}, [Put(prefix + "n", b"1")])
        guarded.kill()
        guarded.start()
        await eventually(lambda: store.commit({}, [Put(prefix + "n", b"2")]))
        await watching.until(2)
    await store.close()
    assert watching.values == ["1", "2"]


async def test_a_wrong_password_is_refused_and_not_shown(guarded: Etcd, prefix: str) -> None:
    settings = guarded.settings(username="gate", password="wr0ng-of-the-test")
    assert "wr0ng" not in repr(settings)
    store = EtcdStore(settings)
    for ask in (store.status(), store.get(prefix), store.commit({}, [Put(prefix, b"")]), store.keep_alive(1)):
        with pytest.raises(AccessDenied) as denied:
            await ask
        assert "wr0ng" not in f"{denied.value}{denied.value.__cause__!r}"
    async with Watching(store, prefix, 1) as watching:
        with pytest.raises(AccessDenied):
            await watching.ended()
    await store.close()


async def test_nobody_gets_nothing(guarded: Etcd, prefix: str) -> None:
    store = EtcdStore(guarded.settings())
    with pytest.raises(AccessDenied):
        await store.get(prefix)
    async with Watching(store, prefix, 1) as watching:
        with pytest.raises(AccessDenied):
            await watching.ended()
    await store.close()


async def test_keys_of_others_stay_theirs(guarded: Etcd) -> None:
    store = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    for ask in (store.get("/theirs/a"), store.list("/theirs/"), store.commit({}, [Put("/theirs/a", b"")])):
        with pytest.raises(AccessDenied, match="permission denied"):
            await ask
    async with Watching(store, "/theirs/", 1) as watching:
        with pytest.raises(AccessDenied, match="permission denied"):
            await watching.ended()
    await store.close()


async def test_a_change_of_users_does_not_disturb(guarded: Etcd, prefix: str) -> None:
    store = EtcdStore(guarded.settings(username="gate", password=PASSWORD))
    start = await store.commit({}, [Put(prefix + "n", b"start")])
    async with Watching(store, prefix, start) as watching:
        name = str(uuid.uuid4())
        guarded.ask("auth/user/add", {"name": name, "password": "x"}, root_token(guarded))
        await store.commit({}, [Put(prefix + "n", b"1")])
        await watching.until(1)
    await store.close()


async def test_a_password_where_etcd_asks_for_none(etcd: Etcd) -> None:
    store = EtcdStore(etcd.settings(username="gate", password=PASSWORD))
    assert await store.get("/absent") is None
    await store.close()


async def expired(etcd: Etcd, store: EtcdStore) -> None:
    """Wait until etcd does not take the store's present token any more."""
    token = store._client._tokens._token
    assert token

    def refused() -> bool:
        try:
            etcd.ask("kv/range", {"key": "L291cnMv"}, token)
        except httpx.HTTPStatusError:
            return True
        return False

    # Asking renews a token that still lives, so the pauses are longer than its life.
    await eventually(refused, within=30, every=2.2)
