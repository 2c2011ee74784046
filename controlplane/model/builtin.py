"""The resources that the control plane creates for itself, and the consequences of their deletion."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.model.access import ADMIN, READ
from controlplane.model.resources import ResourceId

_GATEWAY = "the gateway no longer routes /api/v1 to the admin API"

BUILT_IN: Mapping[ResourceId, str] = {
    ("scope", READ): "no user can be given the right to read the admin API",
    ("scope", ADMIN): "no user can be given the right to change the configuration",
    ("service", "controlplane"): _GATEWAY,
    ("route", "headgate-api"): _GATEWAY,
}
"""The consequence of their deletion, by identity."""
