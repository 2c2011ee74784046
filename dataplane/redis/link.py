"""Keeps the connection to one server: collects the questions of one turn of the event loop, and reconnects after an
end.

    connecting ──▶ up ──▶ away: nothing is asked, and tries go on in the background ──▶ up
         ▲         │
         └─────────┘ the connection was lost

Commands wait for a connection that is being established, at most as long as for a reply. When that fails, or several
answers in a row are late, the server is away: `ask` fails immediately.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from random import random
from time import monotonic
from typing import Final

from dataplane.gateway.policy.outage import Outage
from dataplane.gateway.policy.window import command
from dataplane.gateway.policy.window_scripts import SCRIPTS, TAKE_MEMBERS, digest
from dataplane.gateway.store import Order, Question
from dataplane.redis.acl import denied, lacking, refused, refuses_key
from dataplane.redis.connection import Connection, Owner, RedisError, auth, connect
from dataplane.redis.options import Address, RedisOptions

CONNECT_TIMEOUT: Final = 1.0
"""Seconds to connect, authenticate and load the scripts; more if an answer may take longer."""
_LOOK: Final = 0.001
"""Seconds in which the event loop reads arrived bytes."""
STEADY: Final = 1.0
"""A connection that ends sooner after its start shows that the server is away."""
_UNUSABLE: Final = (
    *("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF"),
    *("OOM", "NOAUTH", "BUSY"),
)
"""Error codes that hold for all commands: the server is the wrong one, or not ready yet. Those of a script stand
within a longer text. Any other error is one of the key's."""

REFUSED_FOR: Final = 10.0
"""Seconds without a refusal after which Redis counts as refusing no keys."""
Moved = Callable[[Question, str, float], bool]
"""Takes a question for another server, the error that names the server, and the question's deadline. Returns whether it
was passed on."""
_LONGEST_REASON: Final = 200


class Link(Owner):
    """One server."""

    def __init__(
        self,
        options: RedisOptions,
        find: Callable[[], Awaitable[Address]],
        changed: Callable[[], None],
        moved: Moved | None = None,
        chance: Callable[[], float] = random,
        probe: Callable[[], bytes] | None = None,
    ) -> None:
        """`find` names the server before each try; `changed` is called when `outage` begins, and at each connection.

        `probe` names a key that this server counts to show that it can; empty: there is none.
        """
        self.outage = Outage()
        self.address: Address = options.servers[0]
        """Its last known address."""
        self._options = options
        self._find = find
        self._changed = changed
        self._moved = moved
        self._chance = chance
        self._probe = probe
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._patient = True
        """Questions wait for a connection that is being made: the server is not known to be away."""
        self._up_since = 0.0
        self._queue: list[Question] = []
        self._queued_at = 0.0
        self._unscripted: list[tuple[Question, float]] = []
        """Questions whose scripts the server no longer has, and their deadlines."""
        self._timer: asyncio.TimerHandle | None = None
        self._looked = False
        """The loop has looked for answers since the time was up."""
        self.refusal = Outage()
        """While the server counts, and refuses some keys: the ACL of our user lacks them."""
        self._refused_at = 0.0
        self._forgiving: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect, and stay connected."""
        if self._connecting is None and self._connection is None:
            self._connecting = asyncio.create_task(self._connect(), name="connecting to Redis")

    def close(self) -> None:
        """End the connection; open questions fail."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._looked = None, False
        if self._forgiving is not None:
            self._forgiving.cancel()
            self._forgiving = None
        connection, self._connection = self._connection, None
        self._patient = True
        if connection is not None:
            connection.abort("closed")
        self._fail_queue()
        refused = self.refusal.over()
        if self.outage.over() or refused:
            self._changed()

    def ask(self, question: Question, now: float) -> bool:
        """Ask at the end of this turn; False while the server is away."""
        if self._connection is None and not (self._patient and self._connecting is not None):
            return False
        if not self._queue:
            self._queued_at = now
            asyncio.get_running_loop().call_soon(self._flush)
        self._queue.append(question)
        return True

    def pass_on(self, questions: list[Question], deadline: float) -> bool:
        """Ask immediately on behalf of another server, which has used a part of the time until `deadline`."""
        if self._connection is None:
            # None of them has been asked here, so that this server has its own time to begin with.
            now = monotonic()
            return all(self.ask(question, now) for question in questions)
        self._connection.send(questions, deadline, counts=False)
        self._set_timer()
        return True

    # --- the connection's owner

    def answered(self) -> None:
        self.outage.answered()

    def errored(self, question: Question, error: str, deadline: float) -> None:
        word = error.partition(" ")[0]
        if word == "NOSCRIPT":
            if not self._unscripted:
                asyncio.get_running_loop().call_soon(self._load)
            self._unscripted.append((question, deadline))
            return
        if word in ("MOVED", "ASK") and self._moved is not None and self._moved(question, error, deadline):
            return
        question.failed(monotonic())
        if refuses_key(error):
            # It still works for all other keys.
            self._refuse(error)
            return
        unusable = refused(error) or any(word in error for word in _UNUSABLE)
        if self._connection is not None and unusable:
            self._connection.abort(error)

    def ended(self, connection: Connection, reason: str) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if monotonic() - self._up_since > STEADY:
            # Redis closes idle connections, restarts, changes its role: a new connection may do.
            self._patient = True
        else:
            self._fail(reason)
        self.start()

    # --- inside

    def _refuse(self, error: str) -> None:
        self._refused_at = monotonic()
        if self._forgiving is None:
            self._forgiving = asyncio.get_running_loop().call_later(REFUSED_FOR, self._forgive)
        reason = self._named(error)
        if self.refusal.failed(reason, time.time(), lacks=lacking(error, self._options.prefix)):
            self._changed()

    def _forgive(self) -> None:
        """There are no questions about refused keys, or they are no longer refused."""
        rest = self._refused_at + REFUSED_FOR - monotonic()
        if rest > 0:
            self._forgiving = asyncio.get_running_loop().call_later(rest, self._forgive)
            return
        self._forgiving = None
        if self.refusal.over():
            self._changed()

    def _load(self) -> None:
        """The scripts were flushed: load them again, and ask again."""
        unscripted, self._unscripted = self._unscripted, []
        if self._connection is not None:
            loads = [Order(b"", load) for load in _loads()]
            deadline = min(deadline for _, deadline in unscripted)
            self._connection.send([*loads, *(question for question, _ in unscripted)], deadline)
            return
        for question, _ in unscripted:
            question.failed(monotonic())

    def _flush(self) -> None:
        connection = self._connection
        if connection is not None and self._queue:
            queue, self._queue = self._queue, []
            connection.send(queue, self._queued_at + self._options.timeout)
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer for all awaited answers."""
        if self._timer is not None:
            return
        deadline = self._connection.next_deadline() if self._connection is not None else None
        if deadline is None and self._queue:
            deadline = self._queued_at + self._options.timeout
        if deadline is not None:
            wait = max(0.0, deadline - monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._expire)

    def _expire(self) -> None:
        self._looked = not self._looked
        if self._looked:
            # This process itself may be late: then the answers have arrived, but have not been read yet.
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._expire)
            return
        self._timer = None
        now, connection = monotonic(), self._connection
        if connection is None:
            if now >= self._queued_at + self._options.timeout:
                self._fail_queue()
        else:
            for _ in range(connection.expire(now)):
                if self.outage.late():
                    self._give_up(f"no answer within {self._options.timeout * 1000:g} ms")
                    break
        self._set_timer()

    def _fail_queue(self) -> None:
        queue, self._queue = self._queue, []
        now = monotonic()
        for question in queue:
            question.failed(now)

    def _fail(self, reason: str) -> None:
        """The server is away."""
        self._patient = False
        steady = monotonic() - self._up_since > STEADY
        lacks = lacking(reason, self._options.prefix)
        named, wrong = self._named(reason), denied(reason)
        if self.outage.failed(named, time.time(), steady=steady, lacks=lacks, denied=wrong):
            self._changed()
        self._fail_queue()

    def _named(self, reason: str) -> str:
        """The reason with the server, without secrets."""
        return "{}:{}: {}".format(*self.address, self._without_secrets(reason)[:_LONGEST_REASON])

    def _without_secrets(self, reason: str) -> str:
        """A server that does not know AUTH quotes the command."""
        for secret in (self._options.password, self._options.sentinel_password):
            if secret:
                reason = reason.replace(secret, "***")
        return reason

    def _give_up(self, reason: str) -> None:
        """End an unusable connection."""
        connection, self._connection = self._connection, None
        self._fail(reason)
        if connection is not None:
            connection.abort(reason)
        self.start()

    async def _connect(self) -> None:
        while True:
            if self.outage.since is not None:
                await asyncio.sleep(self.outage.pause(self._chance()))
            try:
                connection = await self._try()
            except Exception as error:
                # After any error: Redis may return later.
                self._fail(str(error) or "no answer in time")
                continue
            self._connection, self._connecting, self._up_since = connection, None, monotonic()
            self.outage.over()
            self._changed()
            self._flush()
            return

    async def _try(self) -> Connection:
        """A connection that counts. Raises OSError, TimeoutError or RedisError."""
        options = self._options
        self.address = await self._find()
        async with asyncio.timeout(max(CONNECT_TIMEOUT, options.timeout)):
            connection = await connect(self.address, options, self)
            try:
                await connection.replies(*_introduction(options))
                async with asyncio.timeout(options.timeout):
                    await self._count(connection)
            except BaseException:
                connection.abort("given up")
                raise
        return connection

    async def _count(self, connection: Connection) -> None:
        """Make the server count a key. Raises RedisError."""
        name = f"{self._options.prefix}rate_limit:".encode() if self._probe is None else self._probe()
        try:
            await connection.replies(_probe(name) if name else (b"PING",))
        except RedisError as error:
            # The slot is another server's by now: this one answers.
            if not str(error).startswith(("MOVED ", "ASK ")):
                raise


def _introduction(options: RedisOptions) -> list[tuple[bytes, ...]]:
    commands: list[tuple[bytes, ...]] = []
    if options.user or options.password:
        commands.append(auth(options.user, options.password))
    if options.database:
        commands.append((b"SELECT", b"%d" % options.database))
    return commands + [(b"SCRIPT", b"LOAD", script.encode()) for script in SCRIPTS]


def _probe(name: bytes) -> tuple[bytes, ...]:
    """A count that proves that this server can count: it is not a replica, has memory, and its Cluster is not down."""
    identity = os.urandom(6).hex().encode()
    return (
        b"EVALSHA",
        digest(TAKE_MEMBERS),
        b"1",
        name,
        # It expires within milliseconds.
        b"1000",
        b"1000000",
        b"1",
        identity,
    )


def _loads() -> list[bytes]:
    return [command(b"SCRIPT", b"LOAD", script.encode()) for script in SCRIPTS]
