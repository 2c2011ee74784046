"""Renewals of many leases over one stream to a real etcd, and what happens when that stream breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.store import EtcdStore, LeaseGone, StoreUnavailable
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.etcd_lease_calls import HandCall
from controlplane.store.etcd_wire import Method
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from tests.support.etcd import Etcd, cluster
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

COUNT = 50


@pytest.fixture
async def proxy(etcd: Etcd) -> AsyncIterator[Proxy]:
    async with Proxy(etcd.port) as proxy:
        yield proxy


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the streams were opened that carry renewals."""
    ways: list[str] = []
    really = EtcdClient.open_leases

    async def counted(self, by_hand):  # type: ignore[no-untyped-def]
        ways.append("by hand" if by_hand else "gRPC")
        return await really(self, by_hand)

    monkeypatch.setattr(EtcdClient, "open_leases", counted)
    return ways


async def granted(store: EtcdStore, ttl: float = 30) -> list[int]:
    return list(await asyncio.gather(*(store.grant(ttl) for _ in range(COUNT))))


async def renewed(store: EtcdStore, leases: list[int]) -> list[float]:
    return list(await asyncio.gather(*(store.keep_alive(lease) for lease in leases)))


async def test_all_leases_are_renewed_over_one_stream(etcd: Etcd, opened: list[str]) -> None:
    store = EtcdStore(etcd.settings())
    leases = await granted(store)
    assert await renewed(store, leases) == [30.0] * COUNT
    gone = leases.pop()
    await store.revoke(gone)
    with pytest.raises(LeaseGone):
        await store.keep_alive(gone)
    assert min(await renewed(store, leases + leases)) > 20
    assert opened == ["by hand"]
    await store.close()


async def test_many_leases_are_renewed_with_one_call_each_with_its_outcome(etcd: Etcd) -> None:
    store = EtcdStore(etcd.settings())
    leases = await granted(store)
    gone = leases[7]
    await store.revoke(gone)
    outcomes = await store.keep_alive_all([*leases, 12345, leases[0]])
    assert set(outcomes) == {*leases, 12345}
    assert {lease for lease, one in outcomes.items() if isinstance(one, LeaseGone)} == {gone, 12345}
    assert {one for one in outcomes.values() if isinstance(one, float)} == {30.0}
    await store.close()
    outcomes = await store.keep_alive_all([*leases[:2], 1])
    assert {lease: type(one) for lease, one in outcomes.items()} == {
        leases[0]: float,
        leases[1]: float,
        1: StoreUnavailable,
    }


async def test_more_than_windows_have_room_for_are_renewed(etcd: Etcd, opened: list[str]) -> None:
    store = EtcdStore(etcd.settings(timeout=20))
    lease = await store.grant(30)
    outcomes = await store.keep_alive_all([lease, *range(1, 20_000)])
    assert (len(outcomes), outcomes[lease]) == (20_000, 30.0)
    assert opened == ["by hand"]
    await store.close()


@pytest.mark.parametrize("fault", ["refused by etcd", "not connected", "not understood"])
async def test_where_it_cannot_be_done_by_hand_it_is_done_by_grpc(
    etcd: Etcd, opened: list[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def refusing(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    if fault == "refused by etcd":
        wrong = Method("/etcdserverpb.Lease/Nothing", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse)
        monkeypatch.setattr("controlplane.store.etcd_lease_calls.LEASE_KEEP_ALIVE", wrong)
    elif fault == "not connected":
        monkeypatch.setattr(HandCall, "connect", refusing)
    else:
        monkeypatch.setattr("controlplane.store.http2_call.PREFACE", b"GET / HTTP/1.1\r\n\r\n")
    store = EtcdStore(etcd.settings())
    leases = await granted(store)
    assert await renewed(store, leases) == [30.0] * COUNT
    assert opened == ["by hand", "gRPC"]
    await store.close()


async def test_where_it_is_swallowed_by_hand_grpc_is_next(
    etcd: Etcd, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something between here and etcd takes the connection, and passes nothing on."""

    async def swallow(*_: object) -> None:
        pass

    monkeypatch.setattr(HandCall, "write", swallow)
    store = EtcdStore(etcd.settings(timeout=0.5))
    lease = await store.grant(30)
    assert await eventually(lambda: store.keep_alive(lease)) == 30.0
    assert opened == ["by hand", "gRPC"]
    await store.close()


async def test_a_renewal_is_sent_to_etcd_and_moves_the_end(etcd: Etcd) -> None:
    store = EtcdStore(etcd.settings())
    lease = await store.grant(2)
    ends = time.monotonic() + 2
    while time.monotonic() < ends + 1:
        await store.keep_alive(lease)
        await asyncio.sleep(0.2)
    await store.close()
    store = EtcdStore(etcd.settings())
    assert await store.keep_alive(lease) > 0
    await store.revoke(lease)
    await store.close()


async def test_a_stream_that_is_cut_is_opened_anew_and_nobody_hears_of_it(etcd: Etcd, proxy: Proxy) -> None:
    store = EtcdStore(etcd.settings(endpoints=(proxy.url,)))
    for _ in range(5):
        leases = await granted(store)
        await store.keep_alive(leases[0])
        asking = asyncio.gather(*(store.keep_alive(lease) for lease in leases))
        await asyncio.sleep(0)
        proxy.cut()
        assert min(await asking) > 20
    await store.close()


async def test_etcd_is_killed_in_mid_stream_and_comes_back(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd:
        store = EtcdStore(etcd.settings())
        leases = await granted(store)
        await renewed(store, leases[:10])
        etcd.kill()
        results = await asyncio.gather(
            *(store.keep_alive(lease) for lease in leases[10:]), return_exceptions=True
        )
        assert {type(result) for result in results} == {StoreUnavailable}
        etcd.start()
        assert min(await eventually(lambda: renewed(store, leases))) > 20
        await store.close()


async def test_leases_begin_anew_when_etcd_has_been_away_for_longer_than_they_last(tmp_path: Path) -> None:
    """A promise of the documentation that etcd keeps: whoever leads extends every lease."""
    with Etcd(tmp_path) as etcd:
        store = EtcdStore(etcd.settings())
        lease = await store.grant(10)
        etcd.kill()
        await asyncio.sleep(11)  # the fault itself
        etcd.start()
        assert await eventually(lambda: store.keep_alive(lease)) > 5
        await store.close()


async def test_a_frozen_etcd_is_told_in_time_and_asked_again_afterwards(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd:
        patient = EtcdStore(etcd.settings())
        leases = await granted(patient)
        await patient.close()
        store = EtcdStore(etcd.settings(timeout=0.5))
        await eventually(lambda: renewed(store, leases[:10]))
        etcd.freeze()
        began = time.monotonic()
        results = await asyncio.gather(
            *(store.keep_alive(lease) for lease in leases[10:]), return_exceptions=True
        )
        assert time.monotonic() - began < 10
        assert {str(result).partition(": ")[2] for result in results} == {"no answer in time"}
        etcd.thaw()
        assert min(await eventually(lambda: renewed(store, leases))) > 20
        await store.close()


async def test_a_silent_endpoint_is_left_for_another(etcd: Etcd, proxy: Proxy) -> None:
    store = EtcdStore(etcd.settings(endpoints=(proxy.url, etcd.url), timeout=4.0))
    leases = await granted(store)
    await store.keep_alive(leases[0])
    proxy.silent = True
    assert min(await renewed(store, leases)) > 20
    await store.close()


async def test_the_leader_of_a_cluster_is_killed(tmp_path: Path) -> None:
    with cluster(tmp_path, 3) as members:
        members.sort(key=lambda member: not member.leads)
        store = EtcdStore(members[0].settings(endpoints=tuple(member.url for member in members)))
        leases = await granted(store)
        await renewed(store, leases[:10])
        members[0].kill()
        assert min(await eventually(lambda: renewed(store, leases))) > 20
        await store.close()


async def test_renewals_go_to_the_leader_and_move_with_it(tmp_path: Path) -> None:
    with cluster(tmp_path, 3) as members:
        members.sort(key=lambda member: member.leads)
        store = EtcdStore(members[0].settings(endpoints=tuple(member.url for member in members)))
        store._leases.look = 0.05
        lease = await store.grant(30)
        await store.keep_alive(lease)
        assert address(store) == members[2].url.removeprefix("http://")
        follower = members[0].ask("maintenance/status", {})["header"]["member_id"]
        members[2].ask("maintenance/transfer-leadership", {"targetID": follower})
        await eventually(lambda: members[0].leads)
        await eventually(lambda: moved(store, members[0]))
        await store.close()


def address(store: EtcdStore) -> str:
    """Where the stream of renewals goes; empty while there is none."""
    opened = store._leases._opened
    return opened.address if opened else ""


async def moved(store: EtcdStore, member: Etcd) -> bool:
    """Whether the renewals go to this member; one is asked for, because a stream is opened when there is one."""
    await store.keep_alive(await store.grant(30))
    return address(store) == member.url.removeprefix("http://")


async def test_closing_ends_who_waits(etcd: Etcd, proxy: Proxy) -> None:
    store = EtcdStore(etcd.settings(endpoints=(proxy.url,)))
    lease = await store.grant(30)
    await store.keep_alive(lease)
    proxy.silent = True
    asking = asyncio.gather(*(store.keep_alive(lease + 1) for _ in range(3)), return_exceptions=True)
    await asyncio.sleep(0)
    await store.close()
    assert {type(result) for result in await asking} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.keep_alive(lease + 1)


async def test_who_gives_up_waiting_takes_nobody_along(etcd: Etcd, proxy: Proxy) -> None:
    store = EtcdStore(etcd.settings(endpoints=(proxy.url,)))
    lease = await store.grant(30)
    proxy.holding = True
    first, second = (asyncio.create_task(store.keep_alive(lease)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    proxy.holding = False
    assert await second == 30.0
    await store.close()
