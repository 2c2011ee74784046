"""Every command by its name: makes the request, has the executor carry out the plan, and words the answer.

What a command does is in its plan function (`plans`); how it is written is in `executor`.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Callable, Mapping

from controlplane.commands.errors import NotFound, Receipt, Registration, UnknownService
from controlplane.commands.executor import Executor, Follower
from controlplane.commands.plan import PlanView
from controlplane.commands.plans import configuration, own, registry
from controlplane.commands.plans import rollback as past
from controlplane.identity.passwords import Hasher
from controlplane.model.document import read_document, read_one
from controlplane.model.history import RECORDS, Edit, Record, read_records
from controlplane.model.lineage import Lineage
from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.resources import KINDS, Instance, Resource, ResourceId, Service, User
from controlplane.model.stored import Stamped, decode, key_of
from controlplane.store import LeaseGone, Store


class Commands:
    """What the admin API, the registry and the start may change, and what they read for it.

    All raise the store's errors, too. Another writer that comes between is no error: the command is planned again on
    what that writer left, and only after some tries Conflict is raised.
    """

    def __init__(
        self, store: Store, hasher: Hasher, clock: Callable[[], float], follower: Follower | None = None
    ) -> None:
        """`clock` gives Unix seconds; `follower` spares reading the whole store for every change."""
        self.executor = Executor(store, hasher, clock, follower)
        self._store = store
        self._clock = clock

    # Reading

    async def get(self, kind: str, name: str) -> Stamped:
        """One resource. Raises NotFound, and InconsistentConfig when the stored value does not parse."""
        # No name is longer or has other characters, and the store takes no arbitrary text.
        possible = name.isascii() and len(name) <= 128
        entry = await self._store.get(key_of(kind, name)) if possible else None
        resource = decode(entry) if entry else None
        if entry is None or resource is None:
            raise NotFound(kind, name)
        return Stamped(resource, entry.revision)

    async def list(self, kind: str) -> tuple[Stamped, ...]:
        """Every resource of a kind by name; stored values that do not parse are left out."""
        found = (await self.executor.view()).resources.items()
        return tuple(stamped for identity, stamped in sorted(found) if identity[0] == kind)

    async def find_user(self, username: str) -> User | None:
        """A user with the password's hash; None when there is none, or none that can be read."""
        try:
            found = await self.get("user", username)
        except (NotFound, InconsistentConfig):
            return None
        return found.resource if isinstance(found.resource, User) else None

    # Configuration

    async def apply(self, document: object, *, author: str, dry_run: bool = False) -> Receipt:
        """Create or update everything that the document declares; what it leaves out is left alone.

        Raises InvalidConfig with all problems. A dry run checks the same and writes nothing.
        """
        request = configuration.Apply(author=author, document=read_document(document), dry_run=dry_run)
        done = await self.executor.run(configuration.apply, request)
        return Receipt(done.revision, done.receipt, done.unfinished)

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
        author: str,
    ) -> Stamped:
        """Create a resource or replace it as a whole. `name` is taken when the body has none, and must agree otherwise.

        Raises InvalidConfig, StaleWrite unless the resource is at revision `if_match`, AlreadyExists when it exists
        and `if_none_match` is set.
        """
        declared, problems = read_one(kind, _named(kind, body, name))
        if name is not None and declared.name and declared.name != name:
            problems += (Problem(KINDS[kind].NAMED_BY, f"must be {name!r}, as in the address"),)
        request = configuration.PutOne(
            author=author, declared=declared, problems=problems, if_match=if_match, only_new=if_none_match
        )
        done = await self.executor.run(configuration.put, request)
        return Stamped(done.receipt.resource, done.revision) if done.written else done.receipt

    async def delete(self, kind: str, name: str, *, if_match: int | None = None, author: str) -> int:
        """Remove a resource; return the revision. Raises NotFound, StaleWrite, InvalidConfig naming who needs it."""
        request = configuration.DeleteOne(author=author, kind=kind, name=name, if_match=if_match)
        return (await self.executor.run(configuration.delete, request)).revision

    # History

    async def changes(self) -> builtins.list[Record]:
        """Every change that is on record, the newest first."""
        return await self.executor.history.records()

    async def change(self, revision: int) -> Record:
        """The change that made this revision. Raises NotFound."""
        for record in await self.changes():
            if record.revision == revision:
                return record
        raise NotFound("change", str(revision))

    async def compare(self, old: int, new: int | None = None) -> builtins.list[Edit]:
        """What leads from the configuration at revision `old` to that at `new`, None for now; by kind and name.

        Raises NotFound for revisions that the history does not reach.
        """
        listing = await self._store.list(RECORDS)
        view = await self.executor.view()
        state = PlanView(view.change, view.resources, view.unreadable, view.links)
        return past.compare(state, read_records(listing.entries), listing.revision, old, new)

    async def rollback(self, to: int, *, author: str, users: bool = False, dry_run: bool = False) -> Receipt:
        """Make the configuration again what it was at revision `to`, in one change; see `plans.rollback.Rollback`.

        Raises NotFound, and InvalidConfig when the old state does not go together with what is left as it is.
        """
        request = past.Rollback(author=author, to=to, users=users, dry_run=dry_run)
        done = await self.executor.run(past.rollback, request)
        return Receipt(done.revision, done.receipt, done.unfinished)

    # Instances and counters

    async def register(self, instance: Instance, service: Service | None, ttl: float) -> Registration:
        """Create or replace an instance under a new lease of `ttl` seconds (5 to 300; 0 takes 15).

        A service that comes with it is created when it does not exist; an existing one stays as it is, because its
        settings are the operator's. Raises InvalidConfig.
        """
        ttl = ttl or registry.DEFAULT_TTL
        registry.check_registration(instance, service, ttl)
        author = f"service {instance.service_name}"
        try:
            request = registry.Register(author=author, instance=instance, service=service, ttl_asked=ttl)
            done = await self.executor.run(registry.register, request)
        except UnknownService:
            if service is None:
                raise
            first = registry.Introduce(author=author, instance=instance, service=service, ttl_asked=ttl)
            done = await self.executor.run(registry.introduce, first)
        return Registration(done.receipt, ttl, done.revision)

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
        request = registry.OfInstance(author="", service_name=service_name, instance_id=instance_id)
        return (await self.executor.run(registry.deregister, request)).revision

    async def drain(self, service_name: str, instance_id: str, *, hold: float = 0.0) -> int:
        """Let an instance take no new requests; return the revision. Raises NotFound, LeaseGone.

        `hold`: see `plans.registry.Drain`.
        """
        request = registry.Drain(author="", service_name=service_name, instance_id=instance_id, hold=hold)
        return (await self.executor.run(registry.drain, request)).revision

    async def reset_circuit(self, service_name: str) -> int:
        """Have every data plane close a service's breaker; return the order's revision. Raises NotFound."""
        request = registry.ResetCircuit(author="", service_name=service_name)
        return (await self.executor.run(registry.reset_circuit, request)).revision

    async def reset_rate_limit(self, key: str) -> int:
        """Have every data plane fill up the buckets of a caller key; return the order's revision.

        Raises InvalidConfig when the key is empty, above 512 characters or no Unicode text.
        """
        request = registry.ResetRateLimit(author="", key=key)
        return (await self.executor.run(registry.reset_rate_limit, request)).revision

    # What the control plane needs for itself

    async def ensure_lineage(self, author: str) -> None:
        """Give the store an identity, unless it has one."""
        await self.executor.run(own.identify, own.OfLineage(author=author, new_id=secrets.token_hex(8)))

    async def confirm_store(self, author: str, *, above: int = 0) -> tuple[int, Lineage]:
        """Raise the store's epoch, above `above` at least; return the revision and the lineage.

        Every control plane publishes what the store holds then, and every data plane takes it.
        """
        request = own.Confirm(author=author, new_id=secrets.token_hex(8), above=above, now=self._clock())
        done = await self.executor.run(own.confirm, request)
        return done.revision, done.receipt

    async def build_in(
        self, resources: tuple[Resource, ...], switched_off: tuple[ResourceId, ...], *, author: str
    ) -> None:
        """Create the built-in resources that were never created in this store, and remove those switched off."""
        request = own.BuildIn(author=author, resources=resources, switched_off=switched_off)
        await self.executor.run(own.build_in, request)


def _named(kind: str, body: object, name: str | None) -> object:
    field = KINDS[kind].NAMED_BY
    return {field: name, **body} if name is not None and isinstance(body, Mapping) else body
