"""Bounds of the whole configuration. Pure.

Data planes reject a configuration above them, and then every later one. So a change must not lead there. A store that
is above already (a bound was lowered, or values were written past the commands) can be changed and emptied.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.commands.plan import PlanView
from controlplane.commands.plans.puts import Step
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Route
from controlplane.model.room import too_many


def check_room(view: PlanView, steps: Sequence[Step]) -> None:
    """Raise InvalidConfig for a change that adds routes beyond the bound."""
    of_routes = [step.action for step in steps if step.kind == Route.KIND]
    more = of_routes.count("create") - of_routes.count("delete")
    if more > 0 and (found := too_many(len(view.names.get(Route.KIND, ())) + more, view.most_routes)):
        raise InvalidConfig([found])
