"""The resources that the control plane creates for itself, and what their deletion would end."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.model.access import ADMIN, READ
from controlplane.model.resources import ResourceId

_GATEWAY = "the gateway does not route /api/v1 to the admin API any more"

BUILT_IN: Mapping[ResourceId, str] = {
    ("scope", READ): "nobody can be given the right to look at the admin API",
    ("scope", ADMIN): "nobody can be given the right to change the configuration",
    ("service", "controlplane"): _GATEWAY,
    ("route", "headgate-api"): _GATEWAY,
}
"""By their identity, what follows when they are deleted."""
