"""The parts of the control plane that handlers use, assembled by `app`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from controlplane.api.board.board import Board
from controlplane.api.board.broadcast import Broadcast
from controlplane.api.caller import Network
from controlplane.api.list_tags import ListTags
from controlplane.api.older_changes import OlderChanges
from controlplane.api.problems import HttpError, starting
from controlplane.api.question_counts import QuestionCounts
from controlplane.api.recorder import RequestRecord
from controlplane.api.streams import Streams
from controlplane.api.traffic_feed import TrafficFeed
from controlplane.api.traffic_history import HOUR, TrafficHistory
from controlplane.commands.commands import Commands
from controlplane.discovery.counts import DiscoveryCounts
from controlplane.distribute.guard import WHAT_TO_DO
from controlplane.distribute.messages import Messages
from controlplane.distribute.watcher import Watcher
from controlplane.events.log import EventLog
from controlplane.events.observer import Observer
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.questions import Asker
from controlplane.fleet.waiting import Waiting
from controlplane.identity import Grants, RefusedCalls, Revocations, ServiceAccounts, TokenIssuer
from controlplane.limits.desk import Desk
from controlplane.model.lineage import LINEAGE, read_lineage
from controlplane.model.problems import Problem
from controlplane.model.resources import Route, User
from controlplane.model.room import too_many
from controlplane.model.snapshot import Snapshot
from controlplane.store import Store, StoreError
from headgate_api.bounds import MOST_ROUTES


@dataclass
class Parts:
    """Written by `app` while it starts; handlers only read."""

    commands: Commands
    watcher: Watcher
    fleet: Fleet
    version: str
    anonymous_read: bool = False
    """Answer GETs without a token that come from this machine."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies whose X-Forwarded-For is trusted."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser."""
    tokens: TokenIssuer | None = None
    """None until the signing keys were read from the store."""
    grants: Grants | None = None
    starting: str | None = "the store (etcd) has not answered yet"
    """The step that the start waits for, as a sentence; None when it has finished."""
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Admin requests by method and status."""
    refused: RefusedCalls = field(default_factory=RefusedCalls)
    """gRPC calls that were refused because of their credential."""
    messages: Messages = field(default_factory=Messages)
    """Messages that the config streams sent."""
    discovery: DiscoveryCounts = field(default_factory=DiscoveryCounts)
    """What discovery does in this control plane."""
    accounts: ServiceAccounts | None = None
    """Verifies the tokens of pods; None if they are not accepted."""
    desk: Desk | None = None
    """The limits of the fleet that this control plane owns."""
    most_routes: int = MOST_ROUTES
    """Routes that data planes take."""
    asker: Asker | None = None
    """The way to ask data planes; None where there is no gRPC server."""
    store: Store | None = None
    prepare_store: Callable[[], Awaitable[None]] | None = None
    """Creates the resources that a control plane needs in a store that replaced another one."""
    list_tags: ListTags = field(default_factory=ListTags)
    ended: Callable[[RequestRecord], None] = lambda record: None
    """Called at the end of each request to the admin API."""
    streams: Streams = field(default_factory=Streams)
    """The open event streams."""
    events: EventLog = field(default_factory=lambda: EventLog(time.time()))
    dashboard: bool = True
    """Serve the dashboard at /, and accept its cookie."""
    refresh_ttl: int = 86_400
    """Seconds for which a browser keeps the token that renews its session."""
    traffic_history: float = HOUR
    """Seconds of traffic that are kept."""
    questions: QuestionCounts = field(default_factory=QuestionCounts)
    """Explanations and taps."""
    older: OlderChanges = field(init=False)
    """Changes from before `events` began."""
    revocations: Revocations = field(init=False)
    """Logins that ended before their tokens expire."""
    waiting: Waiting = field(init=False)
    """Shared, so that a thousand waits are checked together."""
    observer: Observer = field(init=False)
    """Fills `events`."""
    traffic: TrafficFeed = field(init=False)
    broadcast: Broadcast = field(init=False)
    """The fleet at a glance, for all who look."""

    def __post_init__(self) -> None:
        self.streams.trusted = self.trusted_proxies
        self.older = OlderChanges(self.commands.changes)
        self.revocations = Revocations(self.commands.executor.store, time.time)
        self.waiting = Waiting(self.watcher, self.fleet)
        self.observer = Observer(self.watcher, self.fleet, self.events)
        history = TrafficHistory(self.traffic_history)
        self.traffic = TrafficFeed(self.watcher, self.fleet, lambda: self.observer.services.open, history)
        board = Board(self.watcher, self.fleet, self.version)
        self.broadcast = Broadcast(board, self.watcher, self.fleet, self.traffic)

    @property
    def published_revision(self) -> int:
        """Revision of the published snapshot; 0 before the first."""
        return self.watcher.current.revision if self.watcher.current else 0

    async def find_user(self, username: str) -> User | None:
        """A user with the password's hash; while the store's content is in doubt, from the last good content."""
        return self.watcher.held_user(username) or await self.commands.find_user(username)

    def require_trusted_store(self) -> None:
        """HttpError 503 while the store's content is not published."""
        if self.watcher.frozen:
            detail = f"Nothing was changed, because the change would not be served: {self.watcher.frozen}"
            raise HttpError(503, f"{detail}; {WHAT_TO_DO}")

    async def require_same_store(self) -> None:
        """HttpError 503 when the change was written to a store that has just replaced the published one."""
        known = self.watcher.guard.lineage.id
        if self.store is None or not known:
            return
        try:
            entry = await self.store.get(LINEAGE)
        except StoreError:
            return  # the change is made, and the answer to it must not say otherwise
        if read_lineage(entry.value if entry else None).id != known:
            raise HttpError(
                503, f"The change was written to a store that is not the served one; {WHAT_TO_DO}"
            )

    @property
    def too_many_routes(self) -> Problem | None:
        """The problem of a store with more routes than data planes take."""
        return too_many(self.watcher.count(Route.KIND), self.most_routes)

    def issuer(self) -> TokenIssuer:
        """The issuer of tokens; HttpError 503 while there is none yet."""
        if self.tokens is None:
            raise starting(self.not_ready())
        return self.tokens

    def snapshot(self) -> Snapshot:
        """The published snapshot; HttpError 503 while there is none yet."""
        if self.watcher.current is None:
            raise starting(self.not_ready())
        return self.watcher.current

    def not_ready(self) -> list[str]:
        """Why requests cannot be answered yet; empty when they can."""
        if self.starting:
            return [self.starting]
        if self.watcher.caught_up.is_set():
            return []
        silent = () if self.watcher.connected else ("the store (etcd) does not answer",)
        return [
            "the configuration has not been read from the store (etcd) yet",
            *silent,
            *map(str, self.watcher.problems),
        ]
