"""What services and operators do at run time: registrations under a lease, and orders to forget counters."""

from __future__ import annotations

import contextlib
import hashlib

from controlplane.commands.errors import NotFound
from controlplane.commands.receipts import Registration
from controlplane.commands.rollback import RollbackCommands
from controlplane.model.base import parse_as
from controlplane.model.history import edit
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Instance, Reset, Service
from controlplane.model.stored import CHANGE, decode, encode, key_of
from controlplane.store import Delete, LeaseGone, Put, StoreError, Write

DEFAULT_TTL, LEAST_TTL, MOST_TTL = 15.0, 5.0, 300.0
"""Seconds."""

RESET_TTL = 60.0
"""Seconds that a reset stays in the store; data planes that come later have nothing to reset."""


class Commands(RollbackCommands):
    """All commands: those on the configuration, and here those on instances and counters."""

    async def register(self, instance: Instance, service: Service | None, ttl: float) -> Registration:
        """Create or replace an instance under a new lease of `ttl` seconds (5 to 300; 0 takes 15).

        A service that comes with it is created when it does not exist; an existing one stays as it is, because its
        settings are the operator's. Raises InvalidConfig.
        """
        ttl = ttl or DEFAULT_TTL
        _check_registration(instance, service, ttl)
        lease = await self._store.grant(ttl)
        try:
            revision = await self._again(lambda: self._register(instance, service, lease))
        except BaseException:
            await self._revoke(lease)
            raise
        return Registration(lease, ttl, revision)

    async def keep_alive(self, lease: int, name: str | None = None) -> float:
        """Renew a registration; return the seconds that are left. Raises LeaseGone: register again then.

        With the `name` of the instance ("service/id") no other lease than its own is renewed.
        """
        if name is not None:
            entry = await self._store.get(key_of("instance", name))
            if entry is None or entry.lease != lease:
                raise LeaseGone(lease)
        return await self._store.keep_alive(lease)

    async def deregister(self, service_name: str, instance_id: str) -> int:
        """Remove an instance; return the revision. One that is gone already stays so."""
        key = key_of("instance", f"{service_name}/{instance_id}")

        async def attempt() -> int:
            entry = await self._store.get(key)
            if entry is None:
                return (await self._store.list(key)).revision
            revision = await self._store.commit({key: entry.revision}, [Delete(key)])
            await self._revoke(entry.lease)
            return revision

        return await self._again(attempt)

    async def drain(self, service_name: str, instance_id: str, *, hold: float = 0.0) -> int:
        """Let an instance take no new requests; return the revision. Raises NotFound, LeaseGone.

        It stays under its lease, or with `hold` under a new one that ends so many seconds later by itself: then
        nobody needs to keep it alive any more.
        """
        lease = await self._store.grant(hold) if hold else 0
        try:
            return await self._again(lambda: self._drain(service_name, instance_id, lease))
        except BaseException:
            await self._revoke(lease)
            raise

    async def reset_circuit(self, service_name: str) -> int:
        """Have every data plane close a service's breaker; return the order's revision. Raises NotFound."""
        if await self._store.get(key_of("service", service_name)) is None:
            raise NotFound("service", service_name)
        return await self._reset(Reset(id=f"circuit-{service_name}", circuit=service_name))

    async def reset_rate_limit(self, key: str) -> int:
        """Have every data plane fill up the buckets of a caller key; return the order's revision.

        Raises InvalidConfig when the key is empty, above 512 characters or no Unicode text.
        """
        if not 1 <= len(key) <= 512:
            raise InvalidConfig([Problem("key", "must have 1 to 512 characters")])
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
        return await self._reset(parse_as(Reset, {"id": f"rate_limit-{digest}", "rate_limit": key}))

    async def _register(self, instance: Instance, service: Service | None, lease: int) -> int:
        service_key, key = key_of("service", instance.service_name), key_of("instance", instance.name)
        known, before = await self._store.get(service_key), await self._store.get(key)
        expected = {service_key: known.revision if known else 0, key: before.revision if before else 0}
        writes: list[Write] = [Put(key, encode(instance), lease)]
        if known is None:
            if service is None:
                detail = f"service {instance.service_name!r} does not exist, and the registration does not declare it"
                raise InvalidConfig([Problem("service_name", detail)])
            entry = await self._store.get(CHANGE)
            change = entry.revision if entry else 0
            edits = [edit("service", service.name, None, service)]
            record = await self._record(edits, f"service {service.name}", "register", len(writes) + 1, change)
            revision = await self._recorded(expected, [*writes, Put(service_key, encode(service))], record)
        else:
            revision = await self._store.commit(expected, writes)
        if before is not None:
            await self._revoke(before.lease)
        return revision

    async def _drain(self, service_name: str, instance_id: str, lease: int) -> int:
        name = f"{service_name}/{instance_id}"
        entry = await self._store.get(key_of("instance", name))
        instance = decode(entry) if entry is not None else None
        if entry is None or not isinstance(instance, Instance):
            raise NotFound("instance", name)
        if instance.draining and not lease:
            return entry.revision
        value = encode(instance.model_copy(update={"draining": True}))
        write = Put(entry.key, value, lease or entry.lease)
        revision = await self._store.commit({entry.key: entry.revision}, [write])
        if lease:
            await self._revoke(entry.lease)
        return revision

    async def _reset(self, reset: Reset) -> int:
        lease = await self._store.grant(RESET_TTL)
        return await self._store.commit({}, [Put(key_of("reset", reset.name), encode(reset), lease)])

    async def _revoke(self, lease: int) -> None:
        """Give back a lease (0: none); if that fails, it ends by itself."""
        if not lease:
            return
        with contextlib.suppress(StoreError):
            await self._store.revoke(lease)


def _check_registration(instance: Instance, service: Service | None, ttl: float) -> None:
    problems = []
    if not LEAST_TTL <= ttl <= MOST_TTL:
        problems.append(
            Problem("ttl", f"must be {LEAST_TTL:g} to {MOST_TTL:g} seconds, or 0 for {DEFAULT_TTL:g}")
        )
    if service is not None and service.name != instance.service_name:
        problems.append(
            Problem("service.service_name", f"must be {instance.service_name!r}, as in the instance")
        )
    if problems:
        raise InvalidConfig(problems)
