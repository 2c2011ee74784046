"""The store of limits in Redis, as the gateway sees it; `dataplane.redis` does the asking."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from dataplane.gateway.policy.window import Naming


class Question(Protocol):
    """Something that one command asks. It is answered once, with `answered` or with `failed`."""

    name: bytes
    """The key in Redis that it is about."""
    command: bytes
    """As it is sent."""

    def answered(self, reply: object, now: float) -> None:
        """The reply has come, in time."""

    def failed(self, now: float) -> None:
        """There will be none in time."""

    def late(self, reply: object, now: float) -> None:
        """A reply has come after `failed`."""


class Order:
    """A command whose reply is of no use: what is given back, charged or reset."""

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
        """Ask at the end of this turn of the event loop; False, and it is not answered, while Redis is away.

        Never answers before it returns, and always before long.
        """

    def want(self, limits: Collection[str]) -> None:
        """These limits are counted here, by the table in force: be connected while there are any."""


class NoStore:
    """No Redis is configured: nothing can be asked."""

    __slots__ = ("naming",)

    def __init__(self) -> None:
        self.naming = Naming()

    def ask(self, question: Question, now: float) -> bool:
        """Never."""
        return False

    def want(self, limits: Collection[str]) -> None:
        """They get what `on_store_failure` says."""
