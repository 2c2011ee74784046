"""Representation of resources in the store: keys, and JSON that a person can read with etcdctl."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from controlplane.model.base import FOR_PEOPLE, parse_as, without_empty
from controlplane.model.internal import VerificationKey
from controlplane.model.problems import InconsistentConfig, InvalidConfig, Problem
from controlplane.model.resources import Certificate, Issuer, Resource, ResourceId, User, model_of

PREFIX = "/headgate/v1/"
CHANGE = f"{PREFIX}change/latest"
"""The last change of the configuration: {author, time (Unix seconds), summary}. Every write of
configuration expects its revision, so that such writes happen one after the other."""
COMMITS = f"{PREFIX}commit/"
"""Commit records of changes that take several transactions; see `commands.staging`."""
STAGED = f"{PREFIX}staged/"
"""Prefix of the staged values of such a change."""
QUARANTINE = "/headgate/quarantine/v1/"
"""Prefix of staged values that could not be read, kept for inspection. Nothing else reads them."""


class StoredEntry(Protocol):
    """A key with its value, as the store gives it."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> bytes: ...
    @property
    def revision(self) -> int: ...
    @property
    def lease(self) -> int: ...
    @property
    def created(self) -> int: ...


def key_of(kind: str, name: str) -> str:
    """The store's key of a resource. An instance's name is `service/id`."""
    return f"{PREFIX}{kind}/{name}"


def id_of(key: str) -> ResourceId | None:
    """Kind and name of a key; None for a key that is not Headgate's."""
    kind, slash, name = key.removeprefix(PREFIX).partition("/")
    return (kind, name) if key.startswith(PREFIX) and slash and name else None


def encode(resource: Resource) -> bytes:
    """The stored form of a resource: every field that is set, defaults too; a user's hash, never a password.

    A description, labels and the fields in `SPARSE` only if they are set: control planes that do not know them refuse
    them.
    """
    fields = without_empty(resource.model_dump(mode="json", exclude_none=True))
    for name in resource.SPARSE:
        if getattr(resource, name) == type(resource).model_fields[name].default:
            fields.pop(name, None)
    if isinstance(resource, Certificate) and resource.sealed:
        fields["sealed_key"] = resource.sealed
    if isinstance(resource, User) and resource.password_hash is not None:
        fields["password_hash"] = resource.password_hash.get_secret_value()
    if isinstance(resource, User) and resource.generation:
        fields["generation"] = resource.generation
    return json.dumps(fields, ensure_ascii=False).encode()


def change_value(author: str, time: float, summary: str, trace: str = "") -> bytes:
    """The value of CHANGE. `trace`: see `Change.trace`."""
    value = {"author": author, "time": round(time, 3), "summary": summary}
    return json.dumps({**value, **({"trace": trace} if trace else {})}, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the configuration, as CHANGE names it."""

    revision: int
    author: str
    time: float
    """Unix seconds."""
    summary: str
    trace: str = ""
    """The `traceparent` of the request that made it, which every control plane that publishes it continues."""
    seen: float = 0.0
    """When this control plane saw it."""


def read_change(entry: StoredEntry) -> Change | None:
    """The change in the entry of CHANGE; None if it cannot be read."""
    try:
        value = json.loads(entry.value)
        told = str(value["author"]), float(value["time"]), str(value["summary"])
        return Change(entry.revision, *told, str(value.get("trace", "")))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def decode(entry: StoredEntry) -> Resource | None:
    """The resource in an entry; a signing key gives its public part, as a verification key.

    None for kinds that are not known here: a newer control plane may have written them. InconsistentConfig when the
    value is not what the key says; field paths begin with `kind/name`.
    """
    identity = id_of(entry.key)
    model = _model(identity[0]) if identity else None
    if identity is None or model is None:
        return None
    where = "/".join(identity)
    try:
        resource = parse_as(model, _raw(identity[0], entry.value), stored=True)
    except InvalidConfig as error:
        raise InconsistentConfig(Problem(where, str(problem)) for problem in error.problems) from None
    except (ValueError, RecursionError):
        raise InconsistentConfig([Problem(where, "is not JSON")]) from None
    if resource.name != identity[1]:
        raise InconsistentConfig([Problem(where, f"holds {resource.name!r}")])
    return resource


def _model(kind: str) -> type[Resource] | None:
    """The resources in the entries of a kind; issuers are reserved for later."""
    if kind == Issuer.KIND:
        return None
    return VerificationKey if kind == "signing_key" else model_of(kind)


@dataclass(frozen=True, slots=True)
class Stamped:
    """A resource as of one store revision."""

    resource: Resource
    revision: int
    lease: int = 0
    """The lease that holds it; 0 when it stays until it is deleted."""
    created: int = field(default=0, compare=False)
    """Revision at which it was created, and not deleted since; 0 when unknown."""


def shown(resource: Resource) -> dict[str, object]:
    """A resource as the admin API shows it: every field, without passwords and hashes."""
    fields = resource.model_dump(mode="json", exclude={"password", "password_hash"})
    first = {resource.NAMED_BY: fields.pop(resource.NAMED_BY)} if resource.NAMED_BY in fields else {}
    last = {name: fields.pop(name) for name in FOR_PEOPLE}
    return {**first, **fields, **last}


def without_secrets(user: User) -> User:
    """A user as data planes may know it."""
    known = {"password": None, "password_hash": None, "credentials_id": user.credentials}
    return user.model_copy(update=known)


def with_hash(user: User, password_hash: str | None) -> User:
    """The user as it is stored: the hash in place of the password."""
    secret = SecretStr(password_hash) if password_hash else None
    return user.model_copy(update={"password": None, "password_hash": secret})


def _raw(kind: str, value: bytes) -> object:
    raw = json.loads(value)
    if kind != "signing_key" or not isinstance(raw, dict):
        return raw
    fields = {name: raw[name] for name in ("kid", "issuer", "audience") if name in raw}
    return {**fields, "jwk": json.dumps(raw["public"], separators=(",", ":"))} if "public" in raw else fields
