"""Plans: a command is a pure function from the stored state and a request to a list of writes.

    plan(view, request) -> Plan(expects, writes, edits, receipt)

A plan does nothing. The executor reads the view, calls the function, writes what the plan says, and calls it again on a
new view when another writer came between. A plan function has no side effects, reads no clock, and may be called any
number of times, in any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from pydantic import SecretStr

from controlplane.model.config import View
from controlplane.model.history import Edit
from controlplane.model.names import NO_NAMES
from controlplane.model.resource_index import ResourceIndex
from controlplane.store.protocol import Entry, Listing, Write
from headgate_api.bounds import MOST_ROUTES

Q = TypeVar("Q", bound="Request")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class PlanView(View):
    """The input of a plan: the configuration, and the keys and prefixes that the request names."""

    entries: Mapping[str, Entry | None] = field(default_factory=dict)
    """By key, as the request named them; None: absent."""
    listings: Mapping[str, Listing] = field(default_factory=dict)
    """By prefix. Read after the configuration: they may be newer."""
    most_routes: int = MOST_ROUTES
    """Routes that data planes take."""

    @classmethod
    def of(
        cls,
        view: View,
        entries: Mapping[str, Entry | None] | None = None,
        listings: Mapping[str, Listing] | None = None,
        most_routes: int = MOST_ROUTES,
    ) -> PlanView:
        """A configuration, and what else the request names."""
        state = view.change, view.resources, view.unreadable, view.index, view.names
        return cls(*state, entries or {}, listings or {}, most_routes)


NO_CONFIGURATION = View(0, {}, {}, ResourceIndex(), NO_NAMES)
"""Placeholder for the configuration in requests that do not read it."""


@dataclass(frozen=True, slots=True)
class Password:
    """A password on its way into the store. Comparing and hashing take tens of milliseconds, so no plan does it."""

    username: str
    plain: SecretStr = field(repr=False)
    stored: str | None = field(repr=False)
    """The stored hash; it stays when the password matches it. None: there is none."""
    compare_only: bool = False
    """For a dry run, which needs to know only whether the hash would change."""
    is_key: bool = False
    """It is the private key of a certificate, to be encrypted in place of hashing."""


Hashes: TypeAlias = Mapping[Password, str]
"""The hash to store for each password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Base of the requests. A command adds fields, and overrides the properties that say what its plan reads."""

    author: str
    """The author, as shown in the change entry and the history."""
    hashes: Hashes = field(default_factory=dict)
    """Passwords that were hashed for this request so far; filled by the executor."""
    lease: int = 0
    """A new lease, if the request asks for one (`Request.ttl`); filled by the executor. Ends if the request fails."""
    plan_lease: int = 0
    """A new lease, if the plan asks for one (`Plan.ttl`); filled by the executor. Stays if it is unknown whether the
    plan was written."""

    @property
    def configuration(self) -> bool:
        """Whether the plan reads the configuration."""
        return True

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that the plan reads in addition to the configuration."""
        return ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Prefixes whose entries the plan reads."""
        return ()

    @property
    def ttl(self) -> float:
        """Seconds of a lease that the plan needs in any case; 0: none."""
        return 0.0

    @property
    def weight(self) -> int:
        """Number of resources in the request. Requests with many are planned beside the event loop."""
        return 1

    @property
    def small(self) -> bool:
        """Whether planning twice costs little. Then the first plan is made from the configuration as it is cached here,
        which may be a moment old, and counts if its transaction holds."""
        return False


class Beside(Request):
    """A request about instances and counters: its plan does not write configuration."""

    __slots__ = ()

    @property
    def configuration(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Plan(Generic[R_co]):
    """The writes of a command, and their conditions."""

    receipt: R_co
    """The caller's result, in addition to the revision."""
    writes: Sequence[Write] = ()
    """The writes; empty when nothing has to be done."""
    expects: Mapping[str, int] = field(default_factory=dict)
    """Revisions of keys, as they were seen (0: absent). If one differs, nothing is written."""
    summary: str = ""
    """The change in words. A plan with a summary changes the configuration: it expects the change entry as it was seen,
    so that such changes happen one after the other, and goes on record."""
    edits: Sequence[Edit] = ()
    """The changes to record in the history."""
    on_record: bool = True
    """Whether the history keeps it. Changes by services are not recorded: they would displace changes by people."""
    releases: tuple[int, ...] = ()
    """Leases that are no longer needed once it is written."""
    passwords: tuple[Password, ...] = ()
    """Passwords to be hashed before this can be planned. The executor does that and asks again."""
    shown_at: int = 0
    """For a plan that writes nothing that the watcher follows: the revision at which the watcher shows what the plan
    rests on. The store's present revision may be that of unrelated keys, and the watcher learns of it much later."""
    ttl: float = 0.0
    """Seconds of the lease that `writes` need beside that of the request. The executor grants it, and plans again with
    `Request.plan_lease`."""

    def dry(self) -> Plan[R_co]:
        """The same receipt without any writes."""
        return replace(self, writes=(), expects={}, summary="", edits=(), releases=())


Planner: TypeAlias = Callable[[PlanView, Q], Plan[R]]
"""A command. Raises InvalidConfig or a CommandError when it refuses the request."""


@dataclass(frozen=True, slots=True)
class Done(Generic[R_co]):
    """A plan that was carried out."""

    revision: int
    """Of the change; of the last earlier one when nothing had to be written. The watcher reaches it soon, except for
    the absence of a key that was found absent: that has no revision, and the store's present one stands for it."""
    receipt: R_co
    written: bool
    unfinished: bool = False
    """The change is decided, but not completed: the store failed meanwhile. Any control plane completes it; until then,
    nothing is published."""
