"""When another instance may be tried."""

from __future__ import annotations

from dataplane.policy.resources import Service


def may_try_another(attempts_made: int, service: Service) -> bool:
    """Whether a request that reached no instance in `attempts_made` attempts (1 or more) may go to another.

    Only for failures to connect: nothing was sent then, so any method is safe to repeat (RFC 9110, section 9.2.2).
    """
    return attempts_made <= service.connect_retries
