"""What a caller of the lease stream is told; its talk with etcd: tests/integration/store/test_leases.py."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from controlplane.store import EtcdSettings
from controlplane.store.errors import StoreUnavailable
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.etcd_leases import LeaseStream


class Silent(EtcdClient):
    """A cluster whose streams never open."""

    async def open_leases(self, by_hand: bool) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError


async def test_the_endpoints_are_named_when_none_answers() -> None:
    client = Silent(EtcdSettings(("http://10.0.0.1:2379", "http://10.0.0.2:2379"), timeout=0.05))
    stream = LeaseStream(client)
    with pytest.raises(StoreUnavailable) as error:
        await stream.renew(1)
    assert error.value.detail == "10.0.0.1:2379, 10.0.0.2:2379: no answer in time"
    await stream.close()
    await client.close()
