"""Changes that are too big for one transaction, and are all or nothing nevertheless (docs/decisions/0004).

    stage    the values are written beside the configuration, in parts of one transaction each
    decide   one transaction writes the commit record: from here on the change is made, whichever process dies
    move     each part is put in its place and removed, in one transaction; then the commit record is removed

While there is a commit record no snapshot is published and no other change is planned: readers see none of it or all.
Every control plane may move parts at any time. A part that was moved is gone, so a late mover finds nothing to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from controlplane import aside
from controlplane.commands.history_writer import LEAST_TRIMMED, OWN_WRITES
from controlplane.model.stored import CHANGE, COMMITS, QUARANTINE, STAGED, id_of
from controlplane.store import (
    MAX_OPERATIONS,
    Conflict,
    Delete,
    Entry,
    Put,
    Store,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    Write,
)

MOST_CHANGES = 20_000
"""Resources that one change may write."""
MOST_BYTES = 64 << 20
"""Most bytes of all values of one change."""

ONE_TRANSACTION = MAX_OPERATIONS - 1 - OWN_WRITES - LEAST_TRIMMED
"""Resources that fit one transaction, in addition to the change entry and the history's keys."""
DECIDING = 2
"""Writes of the deciding transaction, beside the same."""

PART_WRITES = MAX_OPERATIONS - 1
"""Resources in one part, whose transaction removes the part as well."""
PART_BYTES = 1_000_000
"""Bytes of values in one part, if it is more than one."""

STAGE_TTL = 60.0
"""Seconds that a writer has for staging. Undecided changes are removed then."""
PATIENCE = 2.0
"""Seconds that a change may be under way before others help."""

_WRITER = "writer"

logger = logging.getLogger(__name__)


def fits(writes: Sequence[Write]) -> bool:
    """Whether one transaction carries all of them, with the record."""
    return len(writes) <= ONE_TRANSACTION and size_of(writes) <= PART_BYTES


def size_of(writes: Iterable[Write]) -> int:
    """Bytes of keys and values."""
    return sum(len(one.key) + (len(one.value) if isinstance(one, Put) else 0) for one in writes)


async def write_staged(
    store: Store, expected: Mapping[str, int], record: Sequence[Write], writes: Sequence[Write]
) -> tuple[int, bool]:
    """Do `writes` and keep their record, if the keys in `expected` have these revisions.

    Returns the revision of the decision, and whether the change is unfinished: from the decision on it is made, so a
    store that fails later is no error of it. Raises Conflict when another change came between, and the store's errors
    before the decision, including an unknown outcome.
    """
    name = secrets.token_hex(8)
    lease = await store.grant(STAGE_TTL)
    writer = f"{STAGED}{name}/{_WRITER}"
    mine = await store.commit({writer: 0}, [Put(writer, b"", lease)])
    try:
        await _stage(store, name, mine, writes)
        decision = Put(COMMITS + name, json.dumps({"resources": len(writes)}).encode())
        decided = await store.commit({**expected, writer: mine}, [*record, decision, Delete(writer)])
    except Conflict as error:
        await discard(store, name)
        # The change is tried again, on the follower's newer view.
        raise Conflict([CHANGE]) from error
    finally:
        with contextlib.suppress(StoreError):
            await store.revoke(lease)
    try:
        await finish(store, name)
    except StoreError as error:
        logger.warning(
            "a decided change is not completed yet", extra={"revision": decided, "reason": str(error)}
        )
        return decided, True
    return decided, False


async def _stage(store: Store, name: str, mine: int, writes: Sequence[Write]) -> None:
    """Write the parts, as long as the writer's mark is at revision `mine`."""
    writer = f"{STAGED}{name}/{_WRITER}"
    try:
        for number, part in enumerate(parts(writes)):
            await store.commit({writer: mine}, [Put(f"{STAGED}{name}/{number:05}", _packed(part))])
    except StoreFull:
        raise
    except StoreUnavailable as error:
        # Whether the part was staged may be unknown. That nothing is decided is certain.
        raise StoreUnavailable(error.detail) from error


async def finish(store: Store, name: str) -> None:
    """Move the remaining parts of a decided change to their places. A damaged part is put aside."""
    for part in (await store.list(f"{STAGED}{name}/")).entries:
        with contextlib.suppress(Conflict):  # moved by another control plane
            await _move(store, part)
    await store.commit({}, [Delete(COMMITS + name)])


async def _move(store: Store, part: Entry) -> None:
    try:
        writes = await _unpacked_aside(part)
        await store.commit({part.key: part.revision}, [*writes, Delete(part.key)])
    except (Damaged, TooLarge) as error:
        await _put_aside(store, part, str(error))


async def _put_aside(store: Store, part: Entry, reason: str) -> None:
    """Move a damaged part to the quarantine, so that it blocks no other change."""
    key = QUARANTINE + part.key.removeprefix(STAGED)
    await store.commit({part.key: part.revision}, [Put(key, part.value), Delete(part.key)])
    extra = {"key": part.key, "kept_as": key, "reason": reason}
    logger.error("a part of a change is damaged and was put aside: its resources are unchanged", extra=extra)


async def discard(store: Store, name: str) -> None:
    """Remove the staged values, unless the change was decided. It cannot be decided afterwards: the writer's mark is
    gone."""
    writer, undecided = f"{STAGED}{name}/{_WRITER}", {COMMITS + name: 0}
    with contextlib.suppress(StoreError):
        await store.commit(undecided, [Delete(writer)])
        keys = [entry.key for entry in (await store.list(f"{STAGED}{name}/")).entries]
        for start in range(0, len(keys), PART_WRITES):
            deletes = [Delete(key) for key in keys[start : start + PART_WRITES]]
            await store.commit({**undecided, writer: 0}, deletes)


def parts(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """The writes in lots of one transaction each."""
    part: list[Write] = []
    size = 0
    for one in writes:
        more = size_of([one])
        if part and (len(part) == PART_WRITES or size + more > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(one)
        size += more
    if part:
        yield part


class Damaged(Exception):
    """A part that was not written by `write_staged`, or was changed since."""


class Staged(Protocol):
    """Knows which changes are staged and decided. Implemented by the watcher."""

    @property
    def staged(self) -> frozenset[str]:
        """Keys of staged parts and of writers."""

    @property
    def decided(self) -> frozenset[str]:
        """Keys of commit records."""


class Undecided(Staged):
    """Undecided changes only. They may wait for the elected sweeper: no caller waits for them."""

    def __init__(self, staged: Staged) -> None:
        self._all = staged

    @property
    def staged(self) -> frozenset[str]:
        return self._all.staged

    @property
    def decided(self) -> frozenset[str]:
        return frozenset()


class Decided(Undecided):
    """Decided changes only. They hold up every other change, so every control plane completes those that it sees."""

    @property
    def staged(self) -> frozenset[str]:
        return frozenset()

    @property
    def decided(self) -> frozenset[str]:
        return self._all.decided


class Sweeper:
    """Completes changes that others decided but did not complete, and removes staged values of undecided changes."""

    def __init__(
        self, store: Store, staged: Staged, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._store = store
        self._staged = staged
        self._sleep = sleep

    async def run(self) -> None:
        """Look every `PATIENCE` seconds, until cancelled. The writer of a stage that is seen twice in a row is gone."""
        seen: frozenset[str] = frozenset()
        while True:
            await self._sleep(PATIENCE)
            now = self._staged.decided | _without_writer(self._staged.staged)
            for key in sorted(seen & now):
                await self._tidy(key)
            seen = now

    async def _tidy(self, key: str) -> None:
        try:
            if key.startswith(COMMITS):
                logger.warning("completing a change that another control plane began", extra={"key": key})
                await finish(self._store, key.removeprefix(COMMITS))
            else:
                await discard(self._store, _name(key))
        except StoreError as error:
            logger.warning(
                "staged changes cannot be completed or removed", extra={"key": key, "reason": str(error)}
            )
        except Exception:
            # Damaged entries must not end the control plane.
            logger.exception("staged changes cannot be completed or removed", extra={"key": key})


def _without_writer(keys: frozenset[str]) -> frozenset[str]:
    """One key of each stage whose writer is gone."""
    written = {_name(key) for key in keys if key.endswith(f"/{_WRITER}")}
    first: Mapping[str, str] = {_name(key): key for key in sorted(keys, reverse=True)}
    return frozenset(key for name, key in first.items() if name not in written)


def _name(key: str) -> str:
    return key.removeprefix(STAGED).partition("/")[0]


def _packed(part: Sequence[Write]) -> bytes:
    """One JSON object, readable with etcdctl: the values by their keys, null for a delete. Values are JSON already."""
    values = ((one.key, one.value if isinstance(one, Put) else b"null") for one in part)
    return b"{%s}" % b", ".join(json.dumps(key).encode() + b": " + value for key, value in values)


async def _unpacked_aside(part: Entry) -> list[Write]:
    return await aside.change(lambda: list(_unpacked(part)))


def _same(value: object) -> object:
    return value


def _unpacked(part: Entry) -> Iterator[Write]:
    """The writes in a part. Raises Damaged for a value that was not staged by a writer."""
    try:
        # A part has up to a megabyte. Parsing it is one call of C, during which no other thread runs, unless Python is
        # called.
        values = json.loads(part.value, object_hook=_same)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise Damaged("is not an object")
    for key, value in values.items():
        if id_of(key) is None or key.startswith((COMMITS, STAGED)):
            raise Damaged(f"writes {key[:200]!r}, which is not a resource")
        if value is None:
            yield Delete(key)
        else:
            yield Put(key, json.dumps(value, ensure_ascii=False).encode())
