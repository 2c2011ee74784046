"""Active health checks, as a chain: schedule → check endpoint → update status → notify router.

Each node has one prober, in the supervisor, which reports to the workers and to the control plane.
"""

from __future__ import annotations

from dataplane.health.endpoint import EndpointChecker
from dataplane.health.prober import Prober
from dataplane.health.state import Health, Probe, update_status

__all__ = ["EndpointChecker", "Health", "Probe", "Prober", "update_status"]
