"""Where limits in Redis are asked for, as the gateway sees it; `dataplane.redis` does the asking.

Base classes and no protocols, as they are on the request path: compiled, a call of them is a call of C.
"""

from __future__ import annotations

from collections.abc import Collection

from dataplane.gateway.policy.window import Naming


class Question:
    """Something that one command asks. It is answered once, with `answered` or with `failed`."""

    __slots__ = ("command", "name")

    name: bytes
    """The key in Redis that it is about."""
    command: bytes
    """As it is sent."""

    def answered(self, reply: object, now: float) -> None:
        """The reply has come, in time."""

    def failed(self, now: float) -> None:
        """There will be none in time."""


class Order(Question):
    """A command whose reply is of no use: what is given back, charged or reset."""

    __slots__ = ()

    def __init__(self, name: bytes, command: bytes) -> None:
        self.name = name
        self.command = command


class Store:
    """A Redis, or none: then nothing can be asked."""

    __slots__ = ("naming",)

    def __init__(self, naming: Naming | None = None) -> None:
        self.naming = naming or Naming()

    def ask(self, question: Question, now: float) -> bool:
        """Ask at the end of this turn of the event loop; False, and it is not answered, while Redis is away.

        Never answers before it returns, and always before long.
        """
        return False

    def want(self, limits: Collection[str]) -> None:
        """These limits are counted here, by the table in force: be connected while there are any."""


ABSENT = Store()
"""No Redis is configured."""
