"""Entity tags of lists: a client that has the list is told so, and nobody makes it again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from controlplane.model.listed import Listed


class ListTags:
    """A number for each state of a kind, as this process saw it. Other processes give other tags."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)
        self._latest: dict[str, tuple[Sequence[str], int]] = {}
        self._count = 0

    def of(self, listed: Listed) -> str:
        """The tag of the whole list, and of each part of it, which has an address of its own.

        A change of any resource of the kind comes with another object of names (`Names`).
        """
        names, number = self._latest.get(listed.kind, (None, 0))
        if names is not listed.names:
            self._count = number = self._count + 1
            self._latest[listed.kind] = listed.names, number
        return f"{self._run}-{number}"
