"""Active health checks, by the chain: schedule → check endpoint → update status → notify router.

One prober per node, in the supervisor; workers and the control plane are told what it found.
"""

from __future__ import annotations

from dataplane.health.endpoint import EndpointChecker
from dataplane.health.prober import Prober
from dataplane.health.state import Health, Probe, update_status

__all__ = ["EndpointChecker", "Health", "Probe", "Prober", "update_status"]
