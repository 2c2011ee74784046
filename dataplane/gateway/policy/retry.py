"""Decides whether a request may be sent again, and after what delay.

Three questions: is it safe (`repeatable`), does the route or service configure it (`wanted`), and does the budget allow
it (`Budget`)? When connecting failed, nothing was sent: any request is safe to repeat, and no instance gets extra work,
so only `wanted` decides.
"""

from __future__ import annotations

from typing import Final

from dataplane.gateway.policy.resources import Retries

CONNECT: Final = "connect"
"""No connection could be made: nothing was sent."""
RESET: Final = "reset"
"""The connection ended before the response head was complete."""
TIMEOUT: Final = "timeout"
"""No response in time."""
CONDITIONS: Final = frozenset({CONNECT, RESET, TIMEOUT, "500", "502", "503", "504"})
FIRST_WAIT: Final = 0.025
"""Longest first wait, in seconds; doubles with each further attempt."""
LONGEST_WAIT: Final = 0.25
MOST_BACKOFF: Final = 10.0
"""Times its first value that a configured back-off grows to (Envoy's default of `retry_back_off.max_interval`)."""
JITTER: Final = 0.5
"""Share by which a configured back-off is longer, at most: never shorter (Gateway API, HTTPRouteRetry.backoff)."""
SAVED: Final = 10.0
"""Retries that a budget starts with, and the most it saves up, so that a service with little traffic has some."""


def wanted(retries: Retries, cause: str, made: int) -> bool:
    """Whether a request that failed by `cause` in `made` attempts (1 or more) is to be tried again."""
    return made <= retries.attempts and cause in retries.on


def repeatable(allowed: bool, body_at_hand: bool) -> bool:
    """Whether a request that an instance may have acted on can be sent again: its method is idempotent (RFC 9110
    section 9.2.2), or the route names it."""
    return body_at_hand and allowed


def wait(cause: str, made: int, chance: float, backoff: float = 0.0, *, same: bool = False) -> float:
    """Seconds before the next attempt after `made` ones: exponential, with full jitter.

    `chance` is uniform in [0, 1). (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog 2015.) The first
    refused connection costs no wait, unless the `same` instance is asked again: the next one has nothing to do with it.
    With a `backoff` of the route, no wait is shorter.
    """
    if backoff:
        return backoff * min(MOST_BACKOFF, 2.0 ** (made - 1)) * (1.0 + JITTER * chance)
    if cause == CONNECT and made == 1 and not same:
        return 0.0
    return chance * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (made - 1))


class Budget:
    """Retry budget of one service: a share of its requests, plus saved retries (as in Finagle).

    It gets the number of requests with each retry, so that other requests cost nothing.
    """

    __slots__ = ("_requests", "_saved")

    def __init__(self) -> None:
        self._requests = 0
        self._saved = SAVED

    def take(self, share: float, requests: int) -> bool:
        """Take one retry. False when the budget is empty. `requests`: those of the service since a fixed time."""
        earned = share * max(0, requests - self._requests)
        self._requests = requests
        self._saved = min(SAVED, self._saved + earned)
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
