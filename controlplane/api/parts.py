"""What the handlers work with: the parts of the control plane, put together by `app`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from controlplane.api.problems import starting
from controlplane.commands import Commands
from controlplane.identity import Grants, TokenIssuer
from controlplane.model.snapshot import Snapshot
from controlplane.publish import Fleet, Watcher


@dataclass
class Parts:
    """Changed by `app` while it starts and by nobody else; handlers read."""

    commands: Commands
    watcher: Watcher
    fleet: Fleet
    version: str
    anonymous_read: bool = False
    """Answer GETs without a token that come from this machine."""
    tokens: TokenIssuer | None = None
    """None until the signing keys were read from the store."""
    grants: Grants | None = None
    starting: str | None = "the store (etcd) has not answered yet"
    """What the start still waits for, in words; None when it is over."""
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Admin requests by method and status."""

    def issuer(self) -> TokenIssuer:
        """The issuer of tokens; Refused 503 while there is none yet."""
        if self.tokens is None:
            raise starting(self.not_ready())
        return self.tokens

    def snapshot(self) -> Snapshot:
        """The published snapshot; Refused 503 while there is none yet."""
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
