"""Carries questions of operators to data planes over their config streams, and the answers back.

A data plane may be connected to another control plane: then the question goes there (`rpc.question_links`), and that
one asks. Questions and answers are not logged: they may hold secrets.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, Protocol

from controlplane.fleet.nodes import Fleet
from controlplane.fleet.questions import Question, Reply, Unanswered
from controlplane.rpc.wire import question_messages
from headgate_api.v1 import questions_pb2 as pb

ANSWERS_QUESTIONS: Final = "questions"
"""Capability of data planes that do."""
MOST_OPEN: Final = 64
"""Questions to one data plane at a time."""
MOST_UNREAD: Final = 1000
"""Answers that wait for a reader; further ones are dropped."""


class Link(Protocol):
    """The way to another control plane. `rpc.question_links.QuestionLinks` implements it."""

    def ask(self, controlplane: str, node: str, question: pb.Question) -> AsyncGenerator[pb.Answer, None]:
        """The answers of a data plane that is connected there. Raises Unanswered."""


class _Port:
    """The stream of a data plane that is connected here."""

    def __init__(self, send: Callable[[pb.Question], None], *, able: bool) -> None:
        self.send = send
        self.able = able
        self.open: dict[str, asyncio.Queue[pb.Answer]] = {}
        """Unread answers, by question."""

    def put(self, answer: pb.Answer) -> None:
        queue = self.open.get(answer.id)
        if queue is not None and (answer.last or queue.qsize() < MOST_UNREAD):
            queue.put_nowait(answer)


class Questions:
    """Implements `fleet.questions.Asker`."""

    def __init__(self, fleet: Fleet, link: Link | None = None) -> None:
        """Without a `link`, only data planes that are connected here can be asked."""
        self.link = link
        self._fleet = fleet
        self._ports: dict[str, _Port] = {}

    @contextmanager
    def port(self, node: str, send: Callable[[pb.Question], None], *, able: bool) -> Iterator[None]:
        """Questions to this data plane go to `send` within the block. `able`: it can answer them."""
        port = self._ports[node] = _Port(send, able=able)
        try:
            yield
        finally:
            if self._ports.get(node) is port:
                del self._ports[node]
            for number in port.open:
                port.put(question_messages.problem(number, f"Data plane {node} has disconnected"))

    def answered(self, node: str, answer: pb.Answer) -> None:
        """An answer of a data plane that is connected here."""
        if (port := self._ports.get(node)) is not None:
            port.put(answer)

    async def ask(self, node: str, question: Question) -> AsyncGenerator[Reply, None]:
        """See `fleet.questions.Asker`."""
        message = question_messages.question(question, secrets.token_hex(8))
        async with aclosing(self._source(node, message)) as answers:
            async for answer in answers:
                yield question_messages.reply(answer)

    async def ask_here(self, node: str, question: pb.Question) -> AsyncGenerator[pb.Answer, None]:
        """The answers of a data plane that is connected here. Raises Unanswered."""
        port = self._ports.get(node)
        if port is None:
            raise Unanswered(f"Data plane {node} is not connected")
        if not port.able:
            raise Unanswered(f"Data plane {node} has a version that answers no questions: upgrade it")
        if len(port.open) >= MOST_OPEN:
            raise Unanswered(f"Data plane {node} is asked too much already; try later")
        answers: asyncio.Queue[pb.Answer] = asyncio.Queue()
        port.open[question.id] = answers
        port.send(question)
        last = False
        try:
            while not last:
                answer = await answers.get()
                last = answer.last
                yield answer
        finally:
            del port.open[question.id]
            if not last:
                port.send(question_messages.stop(question.id))

    def _source(self, node: str, question: pb.Question) -> AsyncGenerator[pb.Answer, None]:
        other = None if node in self._ports else self._fleet.controlplane_of(node)
        if other is None or self.link is None:
            return self.ask_here(node, question)
        return self.link.ask(other, node, question)
