"""Bounds that both planes must agree on: the control plane refuses what every data plane would reject."""

from __future__ import annotations

from typing import Final

MOST_ROUTES: Final = 20_000
"""Routes of one configuration: the default of MAX_ROUTES on both planes."""
