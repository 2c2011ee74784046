"""Steps that several plans share: they compare resources with the stored ones, and make the writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.commands.errors import Action, BuiltIn, BuiltInChange, Change
from controlplane.commands.plan import Hashes, Password, Plan, PlanView
from controlplane.commands.staging import MOST_BYTES, MOST_CHANGES, size_of
from controlplane.model.access import ADMIN
from controlplane.model.builtin import BUILT_IN, taken_away
from controlplane.model.certificate import Certificate, kept_key, with_key
from controlplane.model.history import Edit, edit
from controlplane.model.problems import InvalidConfig, Problem, join
from controlplane.model.resources import Resource, ResourceId, User
from controlplane.model.stored import encode, key_of, with_hash
from controlplane.model.validate import Declared
from controlplane.model.words import count
from controlplane.store.protocol import Delete, Put, Write

MOST_PASSWORDS = 127
"""Passwords in one change: comparing or hashing each one costs tens of milliseconds."""
_MOST_PROBLEMS = 200

LAST_ADMIN = (
    f"would leave no user who can change the configuration: no enabled user with a password would hold {ADMIN}. Give "
    f"{ADMIN} to another user first"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a change: a resource is put or deleted."""

    action: Action
    kind: str
    name: str
    revision: int
    """Revision of the replaced or deleted resource; 0 when there is none."""
    before: Resource | None
    after: Resource | None
    """None: it is deleted."""

    @property
    def change(self) -> Change:
        """The step as shown to the caller."""
        return Change(self.action, self.kind, self.name)

    @property
    def key(self) -> str:
        """The key that is written."""
        return key_of(self.kind, self.name)

    @property
    def write(self) -> Write:
        """The write itself."""
        return Delete(self.key) if self.after is None else Put(self.key, encode(self.after))

    @property
    def edit(self) -> Edit:
        """The step as the history holds it."""
        return edit(self.kind, self.name, self.before, self.after)


def put_step(view: PlanView, resource: Resource) -> Step:
    """The step after which the store holds this resource."""
    identity = resource.KIND, resource.name
    before, revision = present(view, identity), view.revision(identity)
    action: Action = "unchanged" if before == resource else "update" if revision else "create"
    return Step(action, *identity, revision, before, resource)


def delete_step(view: PlanView, identity: ResourceId) -> Step:
    """The step after which there is no such resource."""
    return Step("delete", *identity, view.revision(identity), present(view, identity), None)


def check_built_in(view: PlanView, steps: Sequence[Step], force: bool) -> None:
    """Raise BuiltIn for a step that deletes a built-in resource, and BuiltInChange for steps that take the admin API
    from the gateway, unless it is forced."""
    if force:
        return
    for step in steps:
        if step.after is None and (consequence := BUILT_IN.get((step.kind, step.name))):
            raise BuiltIn(step.kind, step.name, consequence)
    changes = (((step.kind, step.name), step.before, step.after) for step in steps)
    if found := taken_away(view.index, changes):
        (kind, name), consequence = found
        raise BuiltInChange(kind, name, consequence, built_in=(kind, name) in BUILT_IN)


def plan_steps(view: PlanView, steps: Sequence[Step], summary: str = "") -> Plan[tuple[Change, ...]]:
    """The plan of a change of configuration, with a change for each step in its receipt. Raises InvalidConfig."""
    receipt = tuple(step.change for step in steps)
    needed = [step for step in steps if step.action != "unchanged"]
    check_count(len(needed))
    if not needed:
        return Plan(receipt)
    if leaves_no_admin(view, {(step.kind, step.name): step.after for step in needed}):
        raise InvalidConfig([Problem("", LAST_ADMIN)])
    writes = [step.write for step in needed]
    check_bytes(writes)
    expects = {step.key: step.revision for step in needed}
    return Plan(receipt, writes, expects, summary or summary_of(needed), [step.edit for step in needed])


def with_passwords(
    view: PlanView, resources: Iterable[Resource], hashes: Hashes, *, dry_run: bool
) -> tuple[list[Resource], tuple[Password, ...]]:
    """The resources as they will be stored, and the passwords and keys that have to be hashed or encrypted before.

    A user keeps the stored hash, unless another password is given; a certificate keeps the stored key, if it is its
    own. Raises InvalidConfig for too many passwords.
    """
    found: list[Resource] = []
    missing: list[Password] = []
    count = 0
    for resource in resources:
        if isinstance(resource, User):
            resource = with_generation(view, resource)
        if isinstance(resource, User) and resource.password_hash is None:
            password = _password(view, resource, dry_run)
            count += resource.password is not None
            if isinstance(password, Password):
                if password not in hashes:
                    missing.append(password)
                password = hashes.get(password)
            resource = with_hash(resource, password)
        if isinstance(resource, Certificate):
            key = _private_key(view, resource, dry_run)
            if isinstance(key, Password):
                if key not in hashes:
                    missing.append(key)
                key = hashes.get(key)
            resource = with_key(resource, key)
        found.append(resource)
    if count > MOST_PASSWORDS:
        raise InvalidConfig(
            [Problem("users", f"sets {count} passwords; one change sets at most {MOST_PASSWORDS}")]
        )
    return found, tuple(missing)


def _password(view: PlanView, user: User, dry_run: bool) -> Password | str | None:
    """The password to be hashed; without one, the stored hash."""
    stored = hash_of(present(view, ("user", user.username)))
    if user.password is None:
        return stored
    return Password(user.username, user.password, stored, dry_run)


def _private_key(view: PlanView, certificate: Certificate, dry_run: bool) -> Password | str | None:
    """The key to be encrypted; the stored one, if it is that of the certificate."""
    kept = kept_key(certificate, present(view, ("certificate", certificate.name)))
    if kept is not None or certificate.private_key is None:
        return kept
    return Password(certificate.name, certificate.private_key, None, dry_run, is_key=True)


def lacking_keys(view: PlanView, declared: Iterable[Declared]) -> Iterator[Problem]:
    """Certificates without a private key, of which none is stored either."""
    for item in declared:
        one = item.resource
        if isinstance(one, Certificate) and one.private_key is None and one.files is None:
            stored = present(view, ("certificate", one.name))
            if kept_key(one, stored) is None:
                why = "is required" if stored is None else "is required: the certificate is for another key"
                yield Problem(join(item.where, "private_key"), why)


def with_generation(view: PlanView, user: User) -> User:
    """The user with the next generation after the stored one, so that old tokens stay invalid when the user is enabled
    again."""
    before = present(view, ("user", user.username))
    known = before.generation if isinstance(before, User) else 0
    ended = isinstance(before, User) and user.disabled and not before.disabled
    return user.model_copy(update={"generation": known + 1 if ended else known})


def hash_of(resource: Resource | None) -> str | None:
    """A user's stored hash; None when there is none."""
    secret = resource.password_hash if isinstance(resource, User) else None
    return secret.get_secret_value() if secret else None


def leaves_no_admin(view: PlanView, changed: Mapping[ResourceId, Resource | None]) -> bool:
    """Whether the change removes the last administrator: a user who is enabled, has a password and holds
    gateway:admin."""
    if not any(
        is_admin(present(view, identity)) and not is_admin(after) for identity, after in changed.items()
    ):
        return False
    return not any(is_admin(resource) for resource in _users_after(view, changed))


def _users_after(view: PlanView, changed: Mapping[ResourceId, Resource | None]) -> Iterator[Resource | None]:
    yield from changed.values()
    for identity, stamped in view.resources.items():
        if identity[0] == "user" and identity not in changed:
            yield stamped.resource


def is_admin(resource: Resource | None) -> bool:
    """Whether it is a user who can log in and change the configuration."""
    if not isinstance(resource, User):
        return False
    return ADMIN in resource.scopes and not resource.disabled and resource.password_hash is not None


def present(view: PlanView, identity: ResourceId) -> Resource | None:
    """A resource as it is; None when there is none that can be read."""
    stamped = view.resources.get(identity)
    return stamped.resource if stamped else None


def refusal(problems: Collection[Problem]) -> InvalidConfig:
    """The error with all problems, up to a number that people can read."""
    listed, more = list(problems)[:_MOST_PROBLEMS], len(problems) - _MOST_PROBLEMS
    rest = [Problem("", f"and {count(more, 'more problem')}")] if more > 0 else []
    return InvalidConfig(listed + rest)


def check_count(count: int) -> None:
    """Refuse more resources than one change may carry."""
    if count > MOST_CHANGES:
        detail = (
            f"would change {count} resources; one change changes at most {MOST_CHANGES}: apply it in parts"
        )
        raise InvalidConfig([Problem("", detail)])


def check_bytes(writes: Sequence[Write]) -> None:
    """Refuse more bytes of values than one change may carry."""
    if (size := size_of(writes)) > MOST_BYTES:
        raise InvalidConfig(
            [Problem("", f"has {size} bytes; one change has at most {MOST_BYTES}: apply it in parts")]
        )


def summary_of(steps: Sequence[Step]) -> str:
    """The change in words, for the change entry."""
    names = [f"{step.action} {step.kind}/{step.name}" for step in steps]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
