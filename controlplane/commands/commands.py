"""Every command by its name: makes the request, has the executor carry out the plan, and words the answer.

The plan functions (`plans`) hold the logic of commands; `executor` writes the plans.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

from controlplane import aside
from controlplane.commands.counts import Workers
from controlplane.commands.errors import Kept, NotFound, Occupied, Receipt, Registration, UnknownService
from controlplane.commands.executor import Executor, Follower, Seal
from controlplane.commands.keeping import Keeping
from controlplane.commands.past import past_resources
from controlplane.commands.plan import Done, Planner, PlanView, Q
from controlplane.commands.plans import configuration, holders, own, registry, rollback
from controlplane.commands.plans.pruning import Prune
from controlplane.identity.passwords import Hasher
from controlplane.model.certificate import Certificate, ending
from controlplane.model.config import View
from controlplane.model.document import MOST_WARNINGS, read_document, read_named, weight
from controlplane.model.history import RECORDS, Edit, Record
from controlplane.model.lineage import Lineage
from controlplane.model.listed import Listed
from controlplane.model.problems import InconsistentConfig, Problem, join
from controlplane.model.resources import Instance, Resource, ResourceId, Service, Tls, User
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped, decode, key_of
from controlplane.model.validate import Declared
from controlplane.store import Conflict, LeaseGone, Store, StoreError
from controlplane.telemetry.spans import Spans
from headgate_api.bounds import MOST_ROUTES

T = TypeVar("T")

_TRIES = 4
"""Attempts, because other holders of the same instance may write at the same time."""


class Commands:
    """The commands of the admin API, the registry and the start, and the reads that go with them.

    All raise the store's errors, too. When another writer comes first, the command is planned again on the new state;
    Conflict is raised after several attempts.
    """

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
        """As for `Executor`."""
        self.spans = spans or Spans()
        self.executor = Executor(store, hasher, clock, follower, most_routes, seal, self.spans)
        self._keeping = Keeping(store, self.executor, follower)
        self._workers = Workers(store)
        self.counts = self._keeping.counts
        """Counts of registrations and keep-alives."""
        self.reads = aside.Reads()
        self._store = store
        self._clock = clock

    # Reading

    async def get(self, kind: str, name: str) -> Stamped:
        """One resource. Raises NotFound, and InconsistentConfig when the stored value does not parse."""
        # No name is longer or has other characters, and the store takes no arbitrary text.
        possible = name.isascii() and len(name) <= 512
        entry = await self._store.get(key_of(kind, name)) if possible else None
        resource = decode(entry) if entry else None
        if entry is None or resource is None:
            raise NotFound(kind, name)
        return Stamped(resource, entry.revision)

    async def list(self, kind: str) -> tuple[Stamped, ...]:
        """Every resource of a kind by name; stored values that do not parse are left out."""
        return tuple((await self.listed(kind)).after(""))

    async def listed(self, kind: str) -> Listed:
        """The same, to read a part."""
        view = await self.configuration()
        return Listed(kind, view.names.get(kind, ()), view.resources)

    async def configuration(self) -> View:
        """Everything, as of one moment."""
        return await self.executor.view()

    async def users_of(self, target: ResourceId) -> Set[ResourceId]:
        """The resources that name this one."""
        return (await self.configuration()).index.needing(target)

    async def find_user(self, username: str) -> User | None:
        """A user with the password's hash; None when there is none, or none that can be read."""
        try:
            found = await self.get("user", username)
        except (NotFound, InconsistentConfig):
            return None
        return found.resource if isinstance(found.resource, User) else None

    # Configuration

    async def apply(
        self,
        document: object,
        *,
        author: str,
        force: bool = False,
        dry_run: bool = False,
        prune: Prune | None = None,
        plan: str = "",
    ) -> Receipt:
        """Create or update everything that the document declares. Resources that it leaves out do not change, unless
        `prune` selects them: then they are deleted.

        Raises InvalidConfig with all problems, BuiltInChange unless `force` is set, and PlanChanged if the digest of
        the change is not `plan`. A dry run checks the same and writes nothing.
        """
        # A document with few resources does not wait for one with many.
        few = weight(document) <= aside.FEW
        read = read_document(document) if few else await aside.change(lambda: read_document(document))
        request = configuration.Apply(
            author=author, document=read, force=force, dry_run=dry_run, prune=prune, plan=plan
        )
        done = await self.executor.run(configuration.apply, request)
        warnings = read.warnings() if few else await aside.change(read.warnings)
        ends = tuple(_ending(read.declared, self._clock()))
        aside.retire(read.declared)
        warnings = (*ends, *warnings, *done.receipt.overlaps)[:MOST_WARNINGS]
        made = done.receipt
        shown = made.digest if dry_run else ""
        return Receipt(done.revision, made.changes, warnings, done.unfinished, made.edits, made.spared, shown)

    async def create(self, kind: str, body: object, *, author: str) -> Stamped:
        """Add a resource. Raises InvalidConfig, AlreadyExists."""
        return await self.put(kind, body, if_none_match=True, author=author)

    async def put(
        self,
        kind: str,
        body: object,
        *,
        name: str | None = None,
        if_match: int | None = None,
        if_none_match: bool = False,
        force: bool = False,
        dry_run: bool = False,
        author: str,
    ) -> Stamped:
        """Create a resource or replace it as a whole. `name` is taken when the body has none, and must agree otherwise.
        A dry run checks the same and writes nothing; it returns revision 0 if it found a change.

        Raises InvalidConfig, StaleWrite unless the resource is at revision `if_match`, AlreadyExists when it exists
        and `if_none_match` is set, and BuiltInChange when the change defeats a built-in resource, unless `force` is
        set.
        """
        declared, problems = read_named(kind, body, name)
        request = configuration.PutOne(
            author=author,
            declared=declared,
            problems=problems,
            if_match=if_match,
            only_new=if_none_match,
            force=force,
            dry_run=dry_run,
        )
        done = await self.executor.run(configuration.put, request)
        return Stamped(done.receipt.resource, done.revision) if done.written else done.receipt

    async def patch(
        self,
        kind: str,
        name: str,
        patch: Mapping[str, object],
        *,
        if_match: int | None = None,
        force: bool = False,
        dry_run: bool = False,
        author: str,
    ) -> Stamped:
        """Change some fields of a resource (RFC 7396). Raises NotFound, and InvalidConfig, StaleWrite, BuiltInChange as
        above."""
        named: dict[str, Any] = {"kind": kind, "name": name, "patch": patch, "if_match": if_match}
        request = configuration.PatchOne(author=author, **named, force=force, dry_run=dry_run)
        done = await self.executor.run(configuration.patch, request)
        return Stamped(done.receipt.resource, done.revision) if done.written else done.receipt

    async def delete(
        self,
        kind: str,
        name: str,
        *,
        if_match: int | None = None,
        force: bool = False,
        dry_run: bool = False,
        author: str,
    ) -> int:
        """Remove a resource; return the revision. Raises NotFound, StaleWrite, StillNeeded naming the resources that
        need it, and BuiltIn unless `force` is set."""
        request = configuration.DeleteOne(
            author=author, kind=kind, name=name, if_match=if_match, force=force, dry_run=dry_run
        )
        return (await self.executor.run(configuration.delete, request)).revision

    # History

    async def changes(self, shown: Callable[[Sequence[Record]], T]) -> T:
        """Every recorded change, the newest first, as converted by `shown` outside the event loop."""
        entries = (await self._store.list(RECORDS)).entries
        return await self.reads.run(lambda: rollback.show_records(entries, shown))

    async def change(self, revision: int, shown: Callable[[Record], T]) -> T:
        """The change that made this revision, as converted by `shown`. Raises NotFound."""
        entries = (await self._store.list(RECORDS)).entries
        made = [entry for entry in entries if entry.revision == revision]

        def found(records: Sequence[Record]) -> T:
            if not records:
                raise NotFound("change", str(revision))
            return shown(records[0])

        return await self.reads.run(lambda: rollback.show_records(made, found))

    async def compare(self, old: int, new: int | None, shown: Callable[[Sequence[Edit]], T]) -> T:
        """The difference between the configurations at `old` and `new`, as converted by `shown`; see `plans.rollback`.

        Raises NotFound for revisions that the history does not reach.
        """
        listing = await self._store.list(RECORDS)
        view = await self.executor.view()
        state = PlanView.of(view)

        def compared(records: Sequence[Record]) -> T:
            edits = rollback.compare(state, records, listing.revision, old, new)
            try:
                return shown(edits)
            finally:
                rollback.let_go(edits)

        return await self.reads.run(lambda: rollback.show_records(listing.entries, compared))

    async def past(
        self, revision: int, current: Snapshot
    ) -> tuple[tuple[Stamped, ...], tuple[ResourceId, ...]]:
        """The configuration at `revision`, as the difference from `current`; see `past.past_resources`.

        Raises NotFound for a revision that the history does not reach, and InvalidConfig.
        """
        return await self.compare(revision, None, lambda edits: past_resources(edits, current, revision))

    async def rollback(
        self, to: int, *, author: str, users: bool = False, force: bool = False, dry_run: bool = False
    ) -> Receipt:
        """Restore the configuration of revision `to` in one change; see `plans.rollback.Rollback`.

        Raises NotFound, InvalidConfig when the old state conflicts with the kept resources, and unless `force` is set
        BuiltIn or BuiltInChange.
        """
        request = rollback.Rollback(author=author, to=to, users=users, force=force, dry_run=dry_run)
        done = await self.executor.run(rollback.rollback, request)
        return Receipt(done.revision, done.receipt, unfinished=done.unfinished)

    # Instances and counters

    async def register(
        self, instance: Instance, service: Service | None, ttl: float, *, only_if_absent: bool = False
    ) -> Registration:
        """Register an instance under a new lease of `ttl` seconds (5 to 300; 0 takes 15).

        If it is registered at the same address, the caller joins its holders. From another address it replaces them,
        or raises DuplicateInstance with `only_if_absent`. A service that comes with it is created when it does not
        exist; an existing one stays as it is, because its settings are the operator's. Raises InvalidConfig.
        """
        ttl = ttl or registry.DEFAULT_TTL
        registry.check_registration(instance, service, ttl)
        for _ in range(_TRIES - 1):
            with contextlib.suppress(Conflict, LeaseGone):  # of another holder: it is read again
                if (made := await self._register(instance, service, ttl, only_if_absent)) is not None:
                    return made
        made = await self._register(instance, service, ttl, only_if_absent)
        if made is None:
            raise Conflict([key_of("instance", instance.name)])
        return made

    async def _register(
        self, instance: Instance, service: Service | None, ttl: float, only_if_absent: bool
    ) -> Registration | None:
        """None when the holders to join have just left."""
        made = await self._try_to_register(instance, service, ttl, only_if_absent)
        self.counts.registered += made is not None
        return made

    async def _try_to_register(
        self, instance: Instance, service: Service | None, ttl: float, only_if_absent: bool
    ) -> Registration | None:
        asked: dict[str, Any] = {"author": f"service {instance.service_name}", "ttl_asked": ttl}
        asked |= {"instance": instance, "service": service, "only_if_absent": only_if_absent}
        try:
            try:
                done = await self.executor.run(registry.register, registry.Register(**asked))
            except UnknownService:
                if service is None:
                    raise
                done = await self.executor.run(registry.introduce, registry.Introduce(**asked))
        except Occupied:
            return await self._join(instance, ttl)
        return Registration(done.receipt.lease, ttl, done.revision, 1, done.receipt.replaced)

    async def _join(self, instance: Instance, ttl: float) -> Registration | None:
        done = await self.executor.run(
            holders.join, holders.Join(author="", instance=instance, ttl_asked=ttl)
        )
        if not done.receipt.workers:
            return None
        return Registration(done.receipt.lease, ttl, done.revision, done.receipt.workers)

    async def keep_alive(self, lease: int) -> float:
        """Renew a lease, regardless of what it holds; return the seconds that are left. Raises LeaseGone: register
        again then."""
        return await self._store.keep_alive(lease)

    async def keep(self, name: str, lease: int) -> Kept:
        """Renew the lease by which a process holds an instance ("service/id"), and no other lease. Raises LeaseGone as
        above."""
        outcome = (await self.keep_all({lease: name}))[lease]
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def keep_all(self, held: Mapping[int, str]) -> dict[int, Kept | StoreError]:
        """The same for many leases, by lease the name of the instance. Each has an outcome of its own."""
        return await self._keeping.keep(held)

    async def workers(self) -> Mapping[str, int]:
        """How many processes hold an instance, by name ("service/id"), where there are or were several; a moment old.

        Nothing while the store does not answer.
        """
        return await self._workers.counts()

    async def leave(self, name: str, lease: int) -> tuple[int, int]:
        """Remove one holder. Returns the revision, and the instance's if that was its last holder and it must be
        removed, too."""
        done = await self.executor.run(holders.leave, holders.Leave(author="", name=name, mine=lease))
        self.counts.left += done.written
        return done.revision, done.receipt

    async def deregister(self, service_name: str, instance_id: str, *, lease: int = 0, since: int = 0) -> int:
        """Remove an instance; return the revision. An absent one is no error.

        Without a `lease` it is removed for all its holders, whose keep-alives do not bring it back. With `since` only
        the registration of that revision is removed.
        """
        own = (lease,) if lease else ()
        request = registry.OfInstance(
            author="",
            service_name=service_name,
            instance_id=instance_id,
            since=since,
            mark=not since,
            own=own,
        )
        done = await self._marking(registry.deregister, request)
        self.counts.left += done.written
        return done.revision

    async def drain(self, service_name: str, instance_id: str, *, hold: float = 0.0, since: int = 0) -> int:
        """Let an instance take no new requests; return the revision. Raises NotFound, LeaseGone.

        `hold`: see `plans.registry.Drain`. `since`: as for `deregister`.
        """
        request = registry.Drain(
            author="",
            service_name=service_name,
            instance_id=instance_id,
            hold=hold,
            since=since,
            mark=bool(hold) and not since,
        )
        return (await self._marking(registry.drain, request)).revision

    async def undrain(self, service_name: str, instance_id: str) -> int:
        """Let a draining instance take requests again; return the revision. Raises NotFound, Leaving."""
        request = registry.Undrain(author="", service_name=service_name, instance_id=instance_id)
        return (await self._marking(registry.undrain, request)).revision

    async def _marking(self, planner: Planner[Q, None], request: Q) -> Done[None]:
        """Plan again when the lease of a holder ended meanwhile."""
        for _ in range(_TRIES):
            with contextlib.suppress(LeaseGone):
                return await self.executor.run(planner, request)
        return await self.executor.run(planner, request)

    async def reset_circuit(self, service_name: str) -> int:
        """Order every data plane to close a service's breaker; return the order's revision. Raises NotFound."""
        request = registry.ResetCircuit(author="", service_name=service_name)
        return (await self.executor.run(registry.reset_circuit, request)).revision

    async def reset_rate_limit(self, key: str) -> int:
        """Order every data plane to refill the buckets of a caller key; return the order's revision.

        Raises InvalidConfig when the key is empty, above 512 characters or no Unicode text.
        """
        request = registry.ResetRateLimit(author="", key=key)
        return (await self.executor.run(registry.reset_rate_limit, request)).revision

    # The control plane's own data

    async def ensure_lineage(self, author: str) -> None:
        """Give the store an identity, unless it has one."""
        await self.executor.run(own.identify, own.OfLineage(author=author, new_id=secrets.token_hex(8)))

    async def confirm_store(self, author: str, *, above: int = 0) -> tuple[int, Lineage]:
        """Raise the store's epoch, above `above` at least; return the revision and the lineage.

        Every control plane then publishes the store's content, and every data plane accepts it.
        """
        request = own.Confirm(author=author, new_id=secrets.token_hex(8), above=above, now=self._clock())
        done = await self.executor.run(own.confirm, request)
        return done.revision, done.receipt

    async def build_in(
        self,
        resources: tuple[Resource, ...],
        switched_off: tuple[ResourceId, ...],
        *,
        tls: Tls | None = None,
        author: str,
    ) -> None:
        """Create the built-in resources that were never created in this store, and remove those switched off.

        `tls`: how data planes reach the admin API.
        """
        request = own.BuildIn(author=author, resources=resources, switched_off=switched_off, tls=tls)
        await self.executor.run(own.build_in, request)


def _ending(declared: Iterable[Declared], now: float) -> Iterator[Problem]:
    """Warnings about certificates that have ended, or end soon."""
    for item in declared:
        if isinstance(item.resource, Certificate):
            for _, detail in ending([item.resource], now):
                yield Problem(join(item.where, "certificate"), detail)
