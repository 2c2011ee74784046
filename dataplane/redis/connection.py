"""One connection to a Redis server: writes batches of questions, and matches replies with them by their place.

Replies come in the order of the commands (RESP 2), so a batch need not wait for the one before. A late batch stays in
its place: its replies are dropped when they arrive.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final, cast

import hiredis

from dataplane.gateway.policy.window import command
from dataplane.gateway.store import Question
from dataplane.redis.options import Address, RedisOptions

_log = logging.getLogger(__name__)
_MORE: Final = object()
"""The reader's value while no reply is complete."""
_HUGE: Final = re.compile(rb"[*%~>|]\d{6}")
"""The start of a list of so many replies that hiredis would make room for before there are any. The longest that is
asked for names the 16,384 slots of a Cluster."""
_TAIL: Final = 6
"""Bytes of `_HUGE` that may be the end of one read."""
_MOST_UNREAD: Final = 8 * 1024 * 1024
"""Bytes of an incomplete reply."""
_LONGEST_WORD: Final = 64 * 1024
"""Bytes of an incomplete part of it: hiredis looks for the end of a line from its start each time."""


_NO_REPLY: Final = "Redis sent a reply without a question"


class RedisError(Exception):
    """An error that Redis replied; the first word of the message says which."""


class Owner:
    """The owner of a connection."""

    def answered(self) -> None:
        """A reply has come in time."""

    def errored(self, question: Question, error: str, deadline: float) -> None:
        """Redis has refused a question."""

    def ended(self, connection: Connection, reason: str) -> None:
        """The connection is lost. Its questions have not been answered: `unanswered` has them."""


class _Batch:
    __slots__ = ("counts", "deadline", "done", "late", "questions")

    def __init__(self, questions: Sequence[Question], deadline: float, counts: bool) -> None:
        self.questions = questions
        self.deadline = deadline
        self.counts = counts
        self.done = 0
        self.late = False


class Reply:
    """A question of the connection itself, whose reply is awaited."""

    __slots__ = ("command", "future", "name")

    def __init__(self, *words: bytes) -> None:
        self.name = b""
        self.command = command(*words)
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def answered(self, reply: object, now: float) -> None:
        """Hand it on."""
        if not self.future.done():
            self.future.set_result(reply)

    def failed(self, now: float) -> None:
        """Say so."""
        self.refused("the connection was lost")

    def late(self, reply: object, now: float) -> None:
        """The reply is no longer awaited."""

    def refused(self, error: str) -> None:
        """Redis has replied with an error."""
        if not self.future.done():
            self.future.set_exception(RedisError(error))
            # The caller may no longer wait.
            self.future.exception()


class Connection(asyncio.Protocol):
    """The protocol of one connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._batches: deque[_Batch] = deque()
        self._tail = b""
        self._unread = 0
        self._ended = ""
        """The reason it has ended; empty while it is open."""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc else "connection closed by Redis")

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        self._unread += len(data)
        if not self._batches:
            # Redis reports the reason before it closes a connection.
            self.abort(_complaint(data))
            return
        if self._unread > _MOST_UNREAD or _HUGE.search(self._tail + data):
            self.abort(_NO_REPLY)
            return
        self._tail = data[-_TAIL:]
        try:
            self._reader.feed(data)
            while not self._ended:
                reply = self._reader.gets()
                if reply is _MORE:
                    if self._reader.len() > _LONGEST_WORD:
                        self.abort(_NO_REPLY)
                    return
                self._unread = 0
                self._take(reply, now)
        except Exception:
            # The peer may not be Redis: hiredis has several errors for bytes that it cannot parse.
            self.abort(_NO_REPLY)

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return not self._ended

    def send(self, questions: Sequence[Question], deadline: float, *, counts: bool = True) -> None:
        """Send them in one write. A reply after `deadline`, monotonic time, is `late`, once `expire` has passed it;
        `counts`: the server had all the time there is.
        """
        assert self.transport is not None
        if self._ended:
            self._fail(questions)
            return
        self._batches.append(_Batch(questions, deadline, counts))
        self.transport.write(b"".join([question.command for question in questions]))

    async def replies(self, *commands: tuple[bytes, ...]) -> list[object]:
        """Send commands and await their replies. Raises RedisError."""
        questions = [Reply(*words) for words in commands]
        self.send(questions, float("inf"))
        found = [await question.future for question in questions]
        if self._ended:
            # There are more replies than questions.
            raise RedisError(self._ended)
        return found

    def expire(self, now: float) -> int:
        """Fail the questions of all batches that are late since the last call; returns how many count."""
        count = 0
        for batch in list(self._batches):
            if not batch.late and batch.deadline <= now:
                batch.late = True
                count += batch.counts
                for question in batch.questions[batch.done :]:
                    question.failed(now)
        return count

    def next_deadline(self) -> float | None:
        """When the next batch is late; None if none waits."""
        return next((batch.deadline for batch in self._batches if not batch.late), None)

    def abort(self, reason: str) -> None:
        """End it immediately and notify the owner."""
        self._end(reason)
        if self.transport is not None:
            self.transport.abort()

    def _take(self, reply: object, now: float) -> None:
        if not self._batches:
            self.abort(_NO_REPLY)
            return
        batch = self._batches[0]
        question = batch.questions[batch.done]
        batch.done += 1
        if batch.done == len(batch.questions):
            self._batches.popleft()
        try:
            if batch.late:
                if not isinstance(reply, hiredis.ReplyError):
                    question.late(reply, now)
            elif not isinstance(reply, hiredis.ReplyError):
                self._owner.answered()
                question.answered(reply, now)
            elif isinstance(question, Reply):
                question.refused(str(reply))
            else:
                self._owner.errored(question, str(reply), batch.deadline)
        except Exception:
            # A failure of one request must not affect the answers of others.
            _log.exception("a reply of Redis could not be processed")

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = reason or "closed"
        self._owner.ended(self, reason)
        batches, self._batches = self._batches, deque()
        for batch in batches:
            if not batch.late:
                self._fail(batch.questions[batch.done :])

    def _fail(self, questions: Sequence[Question]) -> None:
        """There are no replies to these, because the connection has ended."""
        now = monotonic()
        for question in questions:
            if isinstance(question, Reply):
                question.refused(self._ended)
            else:
                question.failed(now)


def _complaint(data: bytes) -> str:
    """The error in a line that answers no command, as a server sends before it closes the connection."""
    line = data.partition(b"\r\n")[0]
    return line[1:].decode("utf-8", "replace") if line[:1] == b"-" else _NO_REPLY


async def connect(address: Address, options: RedisOptions, owner: Owner | None = None) -> Connection:
    """Connect to a server. Raises OSError."""
    loop = asyncio.get_running_loop()
    host, port = address
    context = options.context()
    _, connection = await loop.create_connection(
        lambda: Connection(owner or Owner()),
        host,
        port,
        ssl=context,
        server_hostname=host if context is not None else None,
    )
    return connection


def auth(user: str, password: str) -> tuple[bytes, ...]:
    """The AUTH command; user "" is the default user, and password "" will do for one that needs none (`nopass`)."""
    words = (user, password) if user else (password,)
    return (b"AUTH", *(word.encode() for word in words))
