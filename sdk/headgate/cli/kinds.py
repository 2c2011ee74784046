"""The kinds of `get` and `delete`: their spellings, paths in the API, and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headgate.cli.failure import Failure
from headgate.cli.resource_kinds import RESOURCES
from headgate.cli.spelling import meant

Row = Mapping[str, Any]
Cell = Callable[[Row], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing: a resource that can be written, or a view of the fleet."""

    singular: str
    plural: str
    path: tuple[str, ...]
    """Below /api/v1."""
    key: str
    """The field with the name."""
    columns: Mapping[str, Cell]
    section: str = ""
    """Its section in a document; empty for a view, which cannot be written."""

    @property
    def resource(self) -> str:
        """The kind as the API writes it."""
        return self.singular.replace("-", "_")

    @property
    def writable(self) -> bool:
        """Whether it can be applied and deleted."""
        return bool(self.section)

    def spellings(self) -> Iterator[str]:
        """Accepted spellings."""
        # `limit` is a common short form, as in the command `headgate limits`.
        short = ("limit", "limits") if self.plural == "rate-limits" else ()
        for name in (self.singular, self.plural, *short):
            yield name
            yield name.replace("-", "_")
            yield name.replace("-", "")


def _field(name: str) -> Cell:
    return lambda row: row.get(name)


def _listed(name: str, otherwise: str = "") -> Cell:
    return lambda row: ", ".join(map(str, row.get(name) or ())) or otherwise


def _inside(name: str, inner: str) -> Cell:
    return lambda row: (row.get(name) or {}).get(inner)


def _access(row: Row) -> object:
    return "public" if row.get("public") else ", ".join(row.get("scopes") or ()) or "any token"


def _match(row: Row) -> object:
    """The path, and how many conditions there are beside it."""
    path = row.get("prefix") or (f"= {row['path']}" if row.get("path") else f"~ {row.get('path_regex')}")
    conditions = len(row.get("headers") or ()) + len(row.get("query") or ())
    return f"{path} (+{conditions})" if conditions else path


def _target(row: Row) -> object:
    """Where requests go: a service, several with their weights, or an answer of the gateway."""
    if row.get("respond"):
        return f"answers {row['respond'].get('status')}"
    if row.get("redirect"):
        return f"redirects {row['redirect'].get('status')}"
    shares = (
        f"{one.get('service_name') or '(500)'} {one.get('weight')}" for one in row.get("services") or ()
    )
    target = row.get("service_name") or ", ".join(shares)
    copies = ", ".join(str(one.get("service_name")) for one in row.get("mirrors") or ())
    return f"{target} (copies: {copies})" if copies else target


def _limit(row: Row) -> object:
    said = []
    if row.get("per_second") is not None:
        said.append(f"{row['per_second']:g}/s, burst {row.get('burst')}")
    elif row.get("requests") is not None:
        said.append(f"{row['requests']}/{row.get('per')}, burst {row.get('burst') or row['requests']}")
    if row.get("max_concurrent") is not None:
        said.append(f"{row['max_concurrent']} under way")
    if row.get("enforce", "on") != "on":
        said.append(f"enforce {row['enforce']}")
    return "; ".join(said)


def _key(row: Row) -> object:
    key = row.get("key")
    return ", ".join(key) if isinstance(key, list) else key


def _address(row: Row) -> object:
    host, port = row.get("host"), row.get("port")
    return f"{host}:{port}" if port else str(host)


def _rejection(row: Row) -> object:
    rejected = row.get("last_rejection")
    if not rejected:
        return ""
    problems = "; ".join(
        ": ".join(filter(None, (problem.get("resource"), problem.get("field"), problem.get("detail"))))
        for problem in rejected.get("problems") or ()
    )
    withheld = " withheld" if rejected.get("withheld") else ""
    return f"revision {rejected.get('revision')}{withheld} at {rejected.get('at')}: {problems}"


def _source(row: Row) -> object:
    """Where instances come from that neither register nor are listed."""
    kubernetes, dns = ((row.get("discovery") or {}).get(name) for name in ("kubernetes", "dns"))
    if kubernetes:
        return f"kubernetes {kubernetes.get('namespace')}/{kubernetes.get('service')}"
    return f"dns {dns.get('name')}" if dns else ""


def _accounts(row: Row) -> object:
    """Service accounts of Kubernetes."""
    named = (f"{one.get('namespace')}/{one.get('service_account')}" for one in row.get("kubernetes") or ())
    return ", ".join(named)


def _labels(row: Row) -> object:
    return ", ".join(f"{name}={value}" for name, value in sorted((row.get("labels") or {}).items()))


_COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "service": {
        "SERVICE": _field("service_name"),
        "CHECK": lambda row: f"{row.get('check_path')} every {row.get('check_interval'):g} s",
        "BALANCER": _field("load_balancer"),
        "DISCOVERY": _source,
        "OPENS AFTER": lambda row: f"{(row.get('circuit') or {}).get('failure_threshold')} failures",
    },
    "certificate": {"CERTIFICATE": _field("name"), "EXPIRES": _field("not_after")},
    "pool": {"POOL": _field("name"), "SERVICE ACCOUNTS": _accounts},
    "listener": {
        "LISTENER": _field("name"),
        "PORT": _field("port"),
        "PROTOCOL": _field("protocol"),
        "HOSTNAMES": _listed("hostnames", "any"),
        "CERTIFICATES": _listed("certificates"),
    },
    "route": {
        "ROUTE": _field("name"),
        "MATCH": _match,
        "HOSTS": _listed("hosts", "any"),
        "METHODS": _listed("methods", "any"),
        "SERVICE": _target,
        "ACCESS": _access,
        "LIMITS": _listed("rate_limits"),
    },
    "scope": {"SCOPE": _field("name"), "DESCRIPTION": _field("description")},
    "user": {"USER": _field("username"), "SCOPES": _listed("scopes"), "DISABLED": _field("disabled")},
    "rate_limit": {"LIMIT": _field("name"), "RATE": _limit, "PER": _key, "MODE": _field("mode")},
}
"""Columns of kinds with a chosen layout; see `_columns` for the others."""


def _columns(kind: str, key: str, fields: tuple[str, ...]) -> Mapping[str, Cell]:
    return _COLUMNS.get(kind) or {name.replace("_", " ").upper(): _field(name) for name in (key, *fields[:5])}


def _resource(kind: str, plural: str, key: str, fields: tuple[str, ...]) -> Kind:
    spelled = plural.replace("_", "-")
    return Kind(
        kind.replace("_", "-"), spelled, ("config", spelled), key, _columns(kind, key, fields), plural
    )


RESOURCE_KINDS = tuple(_resource(*one) for one in RESOURCES)
"""Kinds that can be written."""

_VIEWS = (
    Kind(
        "instance",
        "instances",
        ("services",),
        "instance_id",
        {
            "SERVICE": _field("service_name"),
            "INSTANCE": _field("instance_id"),
            "ADDRESS": _address,
            "STATUS": _field("status"),
            "LAST CHECK": _field("last_check"),
            "WORKERS": lambda row: row.get("workers") or "",
            "SOURCE": _field("source"),
            "REASON": _field("reason"),
        },
    ),
    Kind(
        "circuit",
        "circuits",
        ("circuits",),
        "service_name",
        {
            "SERVICE": _field("service_name"),
            "STATE": _field("state"),
            "SINCE": _field("last_state_change"),
            "REQUESTS": _inside("stats", "total_requests"),
            "FAILED": _inside("stats", "failed_requests"),
            "REJECTED": _inside("stats", "rejected_requests"),
            "RECENT FAILURES": _field("recent_failures"),
            "REASON": _field("reason"),
        },
    ),
    Kind(
        "dataplane",
        "dataplanes",
        ("dataplanes",),
        "node",
        {
            "DATA PLANE": _field("node"),
            "VERSION": _field("version"),
            "STATE": lambda row: "connected" if row.get("connected") else "gone",
            "REVISION": _field("applied_revision"),
            "LAST SEEN": _field("last_seen"),
            "LAST REJECTION": _rejection,
        },
    ),
)

ALL = "all"
"""Used instead of a kind: every resource that can be written."""
KINDS = {kind.plural: kind for kind in (*RESOURCE_KINDS, *_VIEWS)}
SPELLINGS = {spelling: kind for kind in KINDS.values() for spelling in kind.spellings()}
"""Every word for a kind."""


def with_labels(kind: Kind) -> Kind:
    """The kind with its labels as the last column."""
    return replace(kind, columns={**kind.columns, "LABELS": _labels})


def find_kind(name: str, *, writable: bool = False) -> Kind:
    """The kind for a word. Raises Failure with the list of kinds."""
    first, _, rest = name.partition("/")
    if rest and first.lower() in SPELLINGS:
        raise Failure(f"kind and name are two words: {first} {rest}", exit_code=2)
    kind = SPELLINGS.get(name.lower())
    if kind is None or (writable and not kind.writable):
        known = ", ".join(kind.plural for kind in KINDS.values() if kind.writable or not writable)
        problem = "there is no kind" if kind is None else "there is nothing to write of kind"
        names = [spelling for kind in KINDS.values() for spelling in (kind.singular, kind.plural)]
        hint = meant(name.lower(), names, 0.75) if kind is None else ""
        raise Failure(f"{problem} {name!r}{hint or ':'} it must be one of {known}", exit_code=2)
    return kind


def find_resource(words: Sequence[str], command: str) -> tuple[Kind, str]:
    """The kind and the name for the words of a command line. Raises Failure with the correct form."""
    if not words:
        raise Failure(f"name what is meant: headgate {command} KIND NAME", exit_code=2)
    kind, *names = words
    first = names[0] if names else ""
    if kind.lower() not in SPELLINGS and first.lower() in SPELLINGS:
        raise Failure(f"the kind comes first: headgate {command} {first} {kind}", exit_code=2)
    meant = find_kind(kind, writable=True)
    if len(names) != 1:
        got = " ".join(map(repr, names)) or "none"
        wanted = f"headgate {command} {meant.singular} NAME"
        raise Failure(f"one name of a {meant.singular} is needed, and {got} was given: {wanted}", exit_code=2)
    return meant, first
