"""Reads the signing keys from the store, and has the first one made."""

from __future__ import annotations

import asyncio

from controlplane.commands.executor import Executor
from controlplane.commands.plans.own import SIGNING_KEYS, KeepKeys, is_for, keep_keys
from controlplane.identity.keys import KeyRing, generate, unwrap, wrap, wrapping_key

AUTHOR = "controlplane"


async def open_keys(
    executor: Executor, secret_key: str, *, issuer: str, audience: str, now: float
) -> KeyRing:
    """The keys; tokens of `issuer` for `audience` will be believed.

    Raises WrongSecretKey, InconsistentConfig when an entry is damaged, and the store's errors.
    """
    wrapping = wrapping_key(secret_key)
    while True:
        entries = (await executor.store.list(SIGNING_KEYS)).entries
        keys = [unwrap(entry, wrapping) for entry in entries]
        if keys and all(is_for(entry, issuer, audience) for entry in entries):
            return KeyRing(keys)
        first = None
        if not keys:
            # A tenth of a second of computing.
            key = await asyncio.to_thread(generate, now)
            first = {
                "kid": key.kid,
                "public": key.public,
                "private": wrap(key, wrapping),
                "created": now,
            }
        request = KeepKeys(author=AUTHOR, issuer=issuer, audience=audience, first=first)
        await executor.run(keep_keys, request)
