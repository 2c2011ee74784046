"""Carries out every plan: the one place in the control plane that writes the changes of people and services.

    take the turn → view → plan → record for the history → commit or stage → again, after another writer

No lock protects what is written: each transaction expects the revisions that its plan has read. Taking turns only
keeps the writers of this process from failing because of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

from controlplane import aside
from controlplane.commands import staging
from controlplane.commands.errors import CommandError
from controlplane.commands.history_writer import HistoryWriter
from controlplane.commands.plan import (
    NO_CONFIGURATION,
    Done,
    Password,
    Plan,
    Planner,
    PlanView,
    Q,
    R,
    Request,
)
from controlplane.identity.passwords import Hasher
from controlplane.model.config import Config, View
from controlplane.model.problems import ConfigProblems, InvalidConfig, Problem
from controlplane.model.stored import CHANGE, COMMITS, PREFIX, Stamped, change_value
from controlplane.store import Conflict, LeaseGone, Put, Store, StoreError, StoreUnavailable, TooLarge
from controlplane.telemetry.spans import Span, Spans, Value
from headgate_api.bounds import MOST_ROUTES

TRIES = 8
CACHED_WITHIN = 0.5
"""Seconds that a small change waits for the follower to see the last change made here; then it asks the store."""
SEEN_WITHIN = 2.0
"""Seconds that a change waits for the follower to see the store's last change; then it reads the store itself."""
TURN = 5.0
"""Seconds that a change waits for its turn. Then it runs without, so that every caller gets an error while the store is
silent."""
LONGEST_AUTHOR = 128

Seal = Callable[[str], str]
"""Encrypts the private key of a certificate for the store."""
NOT_HASHED = "not hashed"
"""Placeholder for the hash of a new password in a dry run."""


class Follower(Protocol):
    """Knows the configuration without reading the store. Implemented by the watcher."""

    async def view(self, after: int, within: float) -> View | None:
        """The configuration as of revision `after` or later; None when it is not known within some seconds."""

    def registration(self, name: str) -> Stamped | None:
        """A registered instance ("service/id") as of a moment ago; None when there is none, or none is known."""


class Executor:
    """Runs commands: plan functions with their requests."""

    def __init__(
        self,
        store: Store,
        hasher: Hasher,
        clock: Callable[[], float],
        follower: Follower | None = None,
        most_routes: int = MOST_ROUTES,
        seal: Seal | None = None,
        spans: Spans | None = None,
    ) -> None:
        """`clock` gives Unix seconds. With a `follower`, changes do not read the whole store. `most_routes`: as data
        planes take. Without `seal`, no private keys are taken."""
        self.store = store
        self.history = HistoryWriter(store)
        self._hasher = hasher
        self._seal = seal or _refuse
        self._clock = clock
        self._follower = follower
        self._most_routes = most_routes
        self._spans = spans or Spans()
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Locks of requests that change no configuration, by the last key that they read."""
        self._latest = 0
        """Revision of the last change of configuration made here, if the follower sees it in time."""

    async def run(self, planner: Planner[Q, R], request: Q) -> Done[R]:
        """Plan and carry out.

        Raises what the planner raises, Conflict after some tries, and the store's errors.
        """
        needs = _Needs(self.store, self._hasher, self._seal)
        about = {"headgate.command": type(request).__name__, "headgate.author": request.author}
        try:
            async with self._turn_of(request):
                with self._spans.step("headgate.command", about) as span:
                    done = await self._run(planner, request, needs)
                    span.set({"headgate.revision": done.revision, "headgate.written": done.written})
                    return done
        finally:
            await self._release(needs)
            needs.retire()

    async def _run(self, planner: Planner[Q, R], request: Q, needs: _Needs) -> Done[R]:
        if request.small and (done := await self._try_on_cached_view(planner, request, needs)) is not None:
            return done
        missed: tuple[str, ...] = ()
        for _ in range(TRIES - 1):
            try:
                return await self._run_once(planner, request, needs, missed)
            except Conflict as error:
                missed = error.keys
            except LeaseGone:
                # Its keys are gone as well. It may be a lease of this request: new ones are granted.
                missed = ()
                await self._release(needs)
        return await self._run_once(planner, request, needs, missed)

    async def view(self) -> View:
        """The configuration as of now, or newer."""
        return await self._configuration(())

    # One try

    async def _run_once(
        self, planner: Planner[Q, R], request: Q, needs: _Needs, missed: tuple[str, ...]
    ) -> Done[R]:
        config = await self._configuration(missed) if request.configuration else NO_CONFIGURATION
        view = await self._with_entries(config, request)
        return await self._carry_out(await self._plan(planner, view, request, needs), view, request, needs)

    async def _plan(self, planner: Planner[Q, R], view: PlanView, request: Q, needs: _Needs) -> Plan[R]:
        """Validate the request, and say what to write."""
        with self._spans.step("headgate.plan", {}) as span:
            plan = await needs.plan(planner, view, request)
            span.set({"headgate.writes": len(plan.writes), "headgate.summary": plan.summary})
            return plan

    async def _try_on_cached_view(self, planner: Planner[Q, R], request: Q, needs: _Needs) -> Done[R] | None:
        """Try on the configuration as it is known here, without asking the store first.

        Counts only if something is written: then the transaction has found that nothing else was changed. Every other
        outcome may come from a view that lacks the latest changes.
        """
        config = await self._follower.view(self._latest, CACHED_WITHIN) if self._follower else None
        if config is None:
            # Do not wait for it again: in a restored store it may never come.
            self._latest = 0
            return None
        with contextlib.suppress(Conflict, CommandError, ConfigProblems):
            view = await self._with_entries(config, request)
            plan = await self._plan(planner, view, request, needs)
            if plan.writes:
                return await self._carry_out(plan, view, request, needs)
        return None

    async def _carry_out(self, plan: Plan[R], view: View, request: Request, needs: _Needs) -> Done[R]:
        if not (plan.summary or plan.writes) and request.configuration:
            return Done(view.change, plan.receipt, written=False)
        with needs.lent(plan):
            if plan.summary:
                done = await self._change(plan, view, request.author[:LONGEST_AUTHOR])
            else:
                # Without writes this asks the store for its present revision.
                with self._transaction(len(plan.writes)) as span:
                    revision = await self.store.commit(plan.expects, plan.writes)
                    span.set({"headgate.revision": revision})
                if plan.writes:
                    self._spans.wrote(revision)
                done = Done(plan.shown_at or revision, plan.receipt, bool(plan.writes))
        if request.ttl:
            needs.lease = 0  # it holds what was written, or is among the plan's releases
        for lease in plan.releases:
            await self._revoke(lease)
        return done

    async def _change(self, plan: Plan[R], view: View, author: str) -> Done[R]:
        """Write a change of the configuration with its record: there is neither without the other."""
        whole, now = staging.fits(plan.writes), self._clock()
        if not plan.on_record:
            assert whole
            return await self._change_off_record(plan, view, author)
        others = (len(plan.writes) if whole else staging.DECIDING) + 1
        record = await self.history.record(plan.edits, author, now, plan.summary, others, view.change)
        expects = {CHANGE: view.change, **record.expected}
        change = change_value(author, now, plan.summary, self._spans.carried())
        beside = [*record.writes, Put(CHANGE, change)]
        unfinished = False
        try:
            with self._transaction(len(plan.writes) + len(beside)) as span:
                if whole:
                    revision = await self.store.commit({**plan.expects, **expects}, [*plan.writes, *beside])
                else:
                    revision, unfinished = await staging.write_staged(
                        self.store, expects, beside, plan.writes
                    )
                span.set({"headgate.revision": revision})
        except TooLarge as error:
            raise InvalidConfig([Problem("", f"does not fit into one transaction: {error.detail}")]) from None
        except StoreError:
            self.history.forget()
            raise
        self.history.recorded(record, revision)
        self._latest = max(revision, self._latest)
        return Done(revision, plan.receipt, written=True, unfinished=unfinished)

    async def _change_off_record(self, plan: Plan[R], view: View, author: str) -> Done[R]:
        put = Put(CHANGE, change_value(author, self._clock(), plan.summary, self._spans.carried()))
        with self._transaction(len(plan.writes) + 1) as span:
            revision = await self.store.commit({**plan.expects, CHANGE: view.change}, [*plan.writes, put])
            span.set({"headgate.revision": revision})
        self._latest = max(revision, self._latest)
        return Done(revision, plan.receipt, written=True)

    def _transaction(self, writes: int) -> AbstractContextManager[Span]:
        about: Mapping[str, Value] = {
            "db.system.name": "etcd",
            "db.operation.name": "Txn",
            "headgate.writes": writes,
        }
        return self._spans.step("Txn", about, remote=True)

    # The view

    async def _configuration(self, missed: tuple[str, ...]) -> View:
        """The configuration as of now, or newer.

        Only the change entry is read: every change writes it, so that a follower that has seen its revision has seen
        them all. A write that bypassed the commands may not be seen yet; the expectations detect it, and then, with
        CHANGE not among the keys that were `missed`, the store is read as a whole.
        """
        if self._follower is not None and (not missed or CHANGE in missed):
            change = await self.store.get(CHANGE)
            view = await self._follower.view(change.revision if change else 0, SEEN_WITHIN)
            if view is not None:
                return view
        return await read_configuration(self.store)

    async def _with_entries(self, config: View, request: Request) -> PlanView:
        entries = {key: await self.store.get(key) for key in request.keys}
        listings = {prefix: await self.store.list(prefix) for prefix in request.prefixes}
        return PlanView.of(config, entries, listings, self._most_routes)

    # Turns and leases

    @contextlib.asynccontextmanager
    async def _turn_of(self, request: Request) -> AsyncIterator[None]:
        """Changes of the configuration all expect the change entry: in this process one follows the other.

        Other requests for the same key follow one another. Concurrent commands take turns, so the number of tries is at
        most the number of control planes.
        """
        turn, mine = self._turn_at(request), False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TURN):
                mine = await turn.acquire()
        try:
            yield
        finally:
            if mine:
                turn.release()

    def _turn_at(self, request: Request) -> asyncio.Lock:
        if request.configuration:
            return self._turn
        if not request.keys:
            return asyncio.Lock()
        return self._turns.setdefault(request.keys[-1], asyncio.Lock())

    async def _release(self, needs: _Needs) -> None:
        """End the leases that were granted for a request and hold nothing."""
        leases, needs.lease, needs.plan_lease = (needs.lease, needs.plan_lease), 0, 0
        for lease in leases:
            await self._revoke(lease)

    async def _revoke(self, lease: int) -> None:
        """End a lease (0: none); if that fails, it ends by itself."""
        if lease:
            with contextlib.suppress(StoreError):
                await self.store.revoke(lease)


class _Needs:
    """Inputs for the plan of one request: hashed passwords, leases. Each is obtained once, however often the request
    is planned."""

    def __init__(self, store: Store, hasher: Hasher, seal: Seal) -> None:
        self.lease = self.plan_lease = 0
        """As in the request. 0 when there is none, or when it holds what was written."""
        self._store = store
        self._hasher = hasher
        self._seal = seal
        self._hashes: dict[Password, str] = {}
        self._fresh: dict[str, str] = {}
        self._plans: list[Plan[Any]] = []

    @contextlib.contextmanager
    def lent(self, plan: Plan[R]) -> Iterator[None]:
        """While the plan is written: the lease it asked for may hold what was written, unless it is known not to.

        Keys that a plan puts under a new lease have to outlast the request; the lease then ends by itself.
        """
        lease = self.plan_lease
        if plan.ttl:
            self.plan_lease = 0
        try:
            yield
        except StoreError as error:
            if not (isinstance(error, StoreUnavailable) and error.unknown_outcome):
                self.plan_lease = lease
            raise

    async def plan(self, planner: Planner[Q, R], view: PlanView, request: Q) -> Plan[R]:
        """The plan, with everything that it needs."""
        if request.ttl and not self.lease:
            self.lease = await self._store.grant(request.ttl)
        while True:
            asked = replace(request, hashes=dict(self._hashes), lease=self.lease, plan_lease=self.plan_lease)
            if request.weight <= aside.FEW:
                plan = planner(view, asked)
            else:
                plan = await aside.change(partial(planner, view, asked))
            if plan.passwords:
                for password in plan.passwords:
                    self._hashes[password] = await self._hash_for(password)
            elif plan.ttl and not self.plan_lease:
                self.plan_lease = await self._store.grant(plan.ttl)
            else:
                self._plans.append(plan)
                return plan

    def retire(self) -> None:
        """The plans have been carried out."""
        for plan in self._plans:
            aside.retire(plan.edits, plan.writes)

    async def _hash_for(self, password: Password) -> str:
        """The hash to store: the stored one, if it matches the password."""
        plain = password.plain.get_secret_value()
        if password.is_key:
            return NOT_HASHED if password.compare_only else self._seal(plain)
        if password.stored is not None and await self._hasher.verify(plain, password.stored):
            return password.stored
        if password.compare_only:
            return NOT_HASHED
        if password.username not in self._fresh:
            self._fresh[password.username] = await self._hasher.hash(plain)
        return self._fresh[password.username]


def _refuse(plain: str) -> str:
    raise InvalidConfig([Problem("private_key", "cannot be stored here: there is no key to encrypt it with")])


async def read_configuration(store: Store) -> View:
    """The configuration, read as a whole. A change that is decided but not completed is completed first."""
    while True:
        entries = (await store.list(PREFIX)).entries
        config = await aside.change(partial(Config, entries))
        if not config.decided:
            return config.view()
        for key in config.decided:
            await staging.finish(store, key.removeprefix(COMMITS))
