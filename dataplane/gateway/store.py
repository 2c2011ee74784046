"""The store of limits in Redis, as the gateway sees it; `dataplane.redis` does the asking."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from dataplane.gateway.policy.window import Naming


class Question(Protocol):
    """The question of one command. It is answered once, with `answered` or with `failed`."""

    name: bytes
    """The key in Redis."""
    command: bytes
    """As it is sent."""

    def answered(self, reply: object, now: float) -> None:
        """The reply has come, in time."""

    def failed(self, now: float) -> None:
        """There will be no reply in time."""

    def late(self, reply: object, now: float) -> None:
        """A reply has come after `failed`."""


class Order:
    """A command whose reply is not used: it gives back, charges or resets tokens."""

    __slots__ = ("command", "name")

    def __init__(self, name: bytes, command: bytes) -> None:
        self.name = name
        self.command = command

    def answered(self, reply: object, now: float) -> None:
        """The command has been carried out."""

    def failed(self, now: float) -> None:
        """It is unknown whether the command was carried out."""

    def late(self, reply: object, now: float) -> None:
        """The command was carried out after all."""


class Store(Protocol):
    """A Redis."""

    naming: Naming

    def ask(self, question: Question, now: float) -> bool:
        """Ask at the end of this turn of the event loop; False, without an answer, while Redis is away.

        Answers never before it returns, and always within the time-out.
        """

    def want(self, limits: Collection[str]) -> None:
        """These limits are counted here, by the table in force: stay connected while there are any."""


class NoStore:
    """No Redis is configured: nothing can be asked."""

    __slots__ = ("naming",)

    def __init__(self) -> None:
        self.naming = Naming()

    def ask(self, question: Question, now: float) -> bool:
        """Never."""
        return False

    def want(self, limits: Collection[str]) -> None:
        """`on_store_failure` applies to them."""
