"""How many routes data planes take."""

from __future__ import annotations

from controlplane.model.problems import Problem


def too_many(routes: int, most: int) -> Problem | None:
    """The problem of a configuration with so many routes; None if there is none."""
    if routes <= most:
        return None
    detail = (
        f"{routes} are more than MAX_ROUTES {most}: data planes with this bound reject this and every later change. "
        "Delete routes, or raise MAX_ROUTES on the data planes and the control planes"
    )
    return Problem("routes", detail)
