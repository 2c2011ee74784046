"""A request that does not look at the configuration as a whole."""

from __future__ import annotations

from controlplane.commands.plan import Request


class Beside(Request):
    """About instances and counters: their writes touch no configuration."""

    __slots__ = ()

    @property
    def configuration(self) -> bool:
        return False
