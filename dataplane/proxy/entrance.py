"""The port through which a client's connection came: connections are told apart by it, prepared once for each port."""

from __future__ import annotations


class Entrance:
    """A port of the settings, or of listeners of the configuration."""

    __slots__ = ("draining", "sites")

    draining: bool
    """The port is closed: its connections close after their current response."""
    sites: object | None
    """For the gateway: the listeners of this port; None for the ports of the settings."""

    def __init__(self, sites: object | None = None) -> None:
        self.draining = False
        self.sites = sites
