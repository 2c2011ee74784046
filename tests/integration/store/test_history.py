"""What etcd's history can and cannot give back to a watch that was away."""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.store import Compacted, EtcdStore, Put, TooLarge
from tests.support.etcd import Etcd
from tests.support.proxy import Proxy
from tests.support.watching import Watching


@pytest.fixture
def prefix() -> str:
    return f"/history/{uuid.uuid4()}/"


@pytest.fixture
async def store(etcd: Etcd) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(etcd.settings())
    yield store
    await store.close()


async def test_compacted_while_disconnected(etcd: Etcd, prefix: str) -> None:
    async with Proxy(etcd.port) as proxy:
        store = EtcdStore(etcd.settings(endpoints=(proxy.url,)))
        async with Watching(store, prefix, etcd.put(prefix + "n", "start")) as watching:
            etcd.put(prefix + "n", "1")
            await watching.until(1)
            proxy.refusing = True
            proxy.cut()
            etcd.put(prefix + "n", "2")
            etcd.compact(etcd.put(prefix + "n", "3"))
            proxy.refusing = False
            with pytest.raises(Compacted):
                await watching.ended()
        await store.close()
    assert watching.values == ["1"]


async def test_compaction_does_not_disturb_a_watch_that_keeps_up(
    etcd: Etcd, store: EtcdStore, prefix: str
) -> None:
    async with Watching(store, prefix, etcd.put(prefix + "n", "start")) as watching:
        for number in range(5):
            revision = etcd.put(prefix + "n", str(number))
            await watching.until(number + 1)
            etcd.compact(revision)
    assert watching.values == ["0", "1", "2", "3", "4"]


async def test_a_restored_cluster_that_is_already_ahead(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd:
        store = EtcdStore(etcd.settings())
        etcd.put("/k/a", "1")
        listing = await store.list("/k/")
    restored = Etcd(tmp_path / "restored", flags=("--initial-cluster-token=restored",))
    restored.port = etcd.port
    with restored:
        while restored.put("/k/b", "2") <= listing.revision:
            pass
        async with Watching(store, "/k/", listing.revision) as watching:
            with pytest.raises(Compacted, match="another etcd cluster"):
                await watching.ended()
        assert (await store.list("/k/")).cluster not in (0, listing.cluster)
        await store.close()


async def test_etcd_comes_back_with_older_data(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd:
        store = EtcdStore(etcd.settings())
        for number in range(5):
            revision = etcd.put("/k/n", str(number))
        async with Watching(store, "/k/", revision - 1) as watching:
            await watching.until(1)
            etcd.kill()
            shutil.rmtree(tmp_path / "data")
            etcd.start()
            etcd.put("/k/n", "from a new life")
            with pytest.raises(Compacted):
                await watching.ended()
        await store.close()


async def test_revisions_too_large_for_one_message_arrive_whole(
    etcd: Etcd, store: EtcdStore, prefix: str
) -> None:
    start = etcd.put(prefix + "n", "start")
    for revision in range(5):
        puts = [Put(f"{prefix}{number:03}", bytes([revision]) * 12_000) for number in range(100)]
        await store.commit({}, puts)
    # 6 MB of history: etcd cuts it wherever a message is full, which is in the middle of revisions.
    async with Watching(store, prefix, start) as watching:
        await watching.until(5)
    assert [len(batch.puts) for batch in watching.batches] == [100] * 5
    assert {batch.puts[0].value[:1] for batch in watching.batches} == {bytes([n]) for n in range(5)}


async def test_more_revisions_than_etcd_sends_at_once(etcd: Etcd, store: EtcdStore, prefix: str) -> None:
    start = etcd.put(prefix + "n", "start")
    for number in range(1100):
        await store.commit({}, [Put(prefix + "n", str(number).encode())])
    async with Watching(store, prefix, start) as watching:
        await watching.until(1100)
    assert watching.values == [str(number) for number in range(1100)]


async def test_a_listing_begins_anew_when_its_revision_is_compacted_between_pages(
    etcd: Etcd, store: EtcdStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.store.etcd.PAGE", 2)
    for number in range(5):
        etcd.put(f"{prefix}{number}", "")
    pages = itertools.count()
    original: Callable[..., Awaitable[object]] = store._client.call

    async def call(*arguments: object, **options: object) -> object:
        answer = await original(*arguments, **options)
        if next(pages) == 0:
            etcd.compact(etcd.put(f"{prefix}9", ""))
        return answer

    monkeypatch.setattr(store._client, "call", call)
    listing = await store.list(prefix)
    assert [entry.key.removeprefix(prefix) for entry in listing.entries] == ["0", "1", "2", "3", "4", "9"]


async def test_keys_that_are_no_text_do_no_harm(etcd: Etcd, store: EtcdStore, prefix: str) -> None:
    start = etcd.put(prefix + "a", "")
    etcd.put((prefix + "\udcff").encode("utf-8", "surrogateescape"), "odd")
    etcd.put(prefix + "b", "")
    async with Watching(store, prefix, start) as watching:
        await watching.until(2)
    listing = await store.list(prefix)
    odd = next(entry.key for entry in listing.entries if entry.value == b"odd")
    entry = await store.get(odd)
    assert entry is not None
    assert entry.value == b"odd"


async def test_a_server_with_a_lower_limit(tmp_path: Path) -> None:
    with Etcd(tmp_path, flags=["--max-request-bytes=10000", "--max-txn-ops=3"]) as etcd:
        store = EtcdStore(etcd.settings())
        with pytest.raises(TooLarge, match="too large"):
            await store.commit({}, [Put("/k/a", bytes(20_000))])
        with pytest.raises(TooLarge, match="larger than max"):
            await store.commit({}, [Put("/k/a", bytes(1_000_000))])
        with pytest.raises(TooLarge, match="too many operations"):
            await store.commit({}, [Put(f"/k/{number}", b"") for number in range(4)])
        assert (await store.list("/k/")).entries == ()
        await store.close()
