"""A store of counters that records calls and gives the answers of the test."""

from __future__ import annotations

from collections.abc import Collection

from dataplane.gateway.policy.window import Naming
from dataplane.gateway.store import Order, Question


class FakeStore:
    """Whether the store counts as away."""

    __slots__ = ("asked", "away", "naming", "wanted")

    def __init__(self) -> None:
        self.naming = Naming()
        self.away = False
        self.asked: list[Question] = []
        """Everything, the oldest first."""
        self.wanted: list[str] = []

    # --- the side of the gateway

    def ask(self, question: Question, now: float) -> bool:
        if self.away:
            return False
        self.asked.append(question)
        return True

    def want(self, limits: Collection[str]) -> None:
        self.wanted = sorted(limits)

    # --- the side of the test

    def questions(self) -> list[Question]:
        """Calls without an answer yet."""
        return [question for question in self.asked if not isinstance(question, Order)]

    def orders(self) -> list[bytes]:
        """The words of commands without an awaited answer, without their lengths, joined."""
        return [
            b" ".join(order.command.split(b"\r\n")[2::2]) for order in self.asked if isinstance(order, Order)
        ]

    def answer(self, *replies: object, now: float = 0.0) -> None:
        """Answer the oldest calls; None: not in time."""
        waiting = self.questions()
        for question, reply in zip(waiting, replies, strict=False):
            self.asked.remove(question)
            if reply is None:
                question.failed(now)
            else:
                question.answered(reply, now)


TAKEN = [0, 4, 60_000_000, 7]
"""The reply to a call that takes tokens: four are left."""
REFUSED = [30_000_000, 0, 60_000_000, 7]
"""For thirty seconds."""
