"""The store on etcd: transactions on revisions, watches that resume, leases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from controlplane.store.errors import Compacted, Conflict, LeaseGone, StoreError, StoreUnavailable
from controlplane.store.etcd_client import EtcdClient
from controlplane.store.etcd_leases import LeaseStream
from controlplane.store.etcd_settings import EtcdSettings
from controlplane.store.etcd_watch import WatchStream
from controlplane.store.etcd_wire import (
    LEASE_GRANT,
    LEASE_REVOKE,
    RANGE,
    STATUS,
    TXN,
    conflicts,
    encode,
    entry,
    key_range,
    transaction,
)
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.protocol import (
    Batch,
    Entry,
    Listing,
    Put,
    Write,
    check_size,
    check_transaction,
)

log = logging.getLogger(__name__)

FULL_ALARM = "NOSPACE"
"""The alarm's name in etcd (rpc.proto, AlarmType)."""
PAGE = 500
"""Entries asked for at once when listing."""
LISTING_ATTEMPTS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to resume a watch, doubling, with jitter."""


class EtcdStore:
    """A Store on an etcd cluster. Raises ValueError at once for invalid settings and certificates."""

    def __init__(self, settings: EtcdSettings) -> None:
        self._client = EtcdClient(settings)
        self._leases = LeaseStream(self._client)
        self._cluster = 0

    async def get(self, key: str) -> Entry | None:
        response = await self._client.call(RANGE, pb.RangeRequest(key=encode(key)))
        return entry(response.kvs[0]) if response.kvs else None

    async def list(self, prefix: str) -> Listing:
        for _ in range(LISTING_ATTEMPTS):
            try:
                return await self._list_at_one_revision(prefix)
            except Compacted as error:
                log.info("listing %s starts again: %s", prefix, error)
        raise StoreUnavailable("etcd compacts its history faster than the keys can be listed")

    async def _list_at_one_revision(self, prefix: str) -> Listing:
        start, end = key_range(prefix)
        page = await self._client.call(RANGE, pb.RangeRequest(key=start, range_end=end, limit=PAGE))
        revision, entries = page.header.revision, [entry(pair) for pair in page.kvs]
        cluster = page.header.cluster_id
        while page.more:
            start = page.kvs[-1].key + b"\0"
            rest = pb.RangeRequest(key=start, range_end=end, limit=PAGE, revision=revision)
            page = await self._client.call(RANGE, rest)
            entries.extend(entry(pair) for pair in page.kvs)
        self._cluster = cluster
        return Listing(revision, tuple(entries), cluster)

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        check_transaction(expected, writes)
        request = transaction(expected, writes)
        check_size(request.ByteSize())
        lease = next((write.lease for write in writes if isinstance(write, Put) and write.lease), 0)
        response = await self._client.call(TXN, request, repeatable=False, lease=lease)
        if not response.succeeded:
            raise Conflict(conflicts(expected, response))
        return response.header.revision

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Batch, None]:
        position, outage, cluster = after, Outage(prefix), self._cluster
        while True:
            try:
                async with self._watching(prefix, position) as stream:
                    if cluster not in (0, stream.cluster):
                        # Its history is another one, even if it has as many revisions.
                        raise Compacted(detail="another etcd cluster answers")
                    cluster = stream.cluster
                    outage.mended(position)
                    while True:
                        for batch in await stream.next():
                            position = batch.revision
                            yield batch
                        outage.over()
            except StoreUnavailable as error:
                if self._client.closed:
                    raise StoreUnavailable("the store is closed") from None
                await asyncio.sleep(outage.pause(position, error))

    @asynccontextmanager
    async def _watching(self, prefix: str, after: int) -> AsyncIterator[WatchStream]:
        stream = await self._client.watch(prefix, after)
        try:
            if stream.created_at < after:
                await self._require_past(prefix, after)
            yield stream
        except StoreUnavailable:
            self._client.avoid(stream.address)
            raise
        finally:
            await stream.close()

    async def _require_past(self, prefix: str, after: int) -> None:
        """Raise Compacted if the whole cluster, and not just one member, has yet to reach `after`.

        Then etcd's data was replaced by older data, and a watch would be blind until it is as old again.
        """
        start, _ = key_range(prefix)
        await self._client.call(RANGE, pb.RangeRequest(key=start, revision=after, keys_only=True))

    async def grant(self, ttl: float) -> int:
        # Repeatable: should the first answer be lost, its lease holds nothing and ends by itself.
        response = await self._client.call(LEASE_GRANT, pb.LeaseGrantRequest(ttl=max(1, math.ceil(ttl))))
        return response.id

    async def keep_alive(self, lease: int) -> float:
        return await self._leases.renew(lease)

    async def keep_alive_all(self, leases: Collection[int]) -> Mapping[int, float | StoreError]:
        return await self._leases.renew_all(leases)

    async def revoke(self, lease: int) -> None:
        try:
            with contextlib.suppress(LeaseGone):
                await self._client.call(LEASE_REVOKE, pb.LeaseRevokeRequest(id=lease), lease=lease)
        finally:
            self._leases.forget(lease)

    async def status(self) -> None:
        response = await self._client.call(STATUS, pb.StatusRequest())
        if not response.leader:
            raise StoreUnavailable("etcd has no leader")

    async def full(self) -> bool:
        # An alarm of any member is valid for the whole cluster, and every member reports it.
        response = await self._client.call(STATUS, pb.StatusRequest())
        return any(FULL_ALARM in alarm for alarm in response.errors)

    async def close(self) -> None:
        self._client.closed = True
        await self._leases.close()
        await self._client.close()


class Outage:
    """Back-off of a watch, and which failures are logged: the first of an outage, and its end."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._failures = 0
        self._lost = False

    def pause(self, position: int, error: StoreUnavailable) -> float:
        """Note a failure; returns the seconds to wait, doubling up to 2, with jitter."""
        if not self._lost:
            log.warning("watch of %s lost revision=%d: %s", self._prefix, position, error)
        self._lost = True
        longest: float = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)

    def mended(self, position: int) -> None:
        """Note that etcd accepted the watch."""
        if self._lost:
            log.info("watch of %s resumed revision=%d", self._prefix, position)
        self._lost = False

    def over(self) -> None:
        """Note that events arrive: the next failure begins a new outage."""
        self._failures = 0
