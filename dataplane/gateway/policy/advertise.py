"""The fields RateLimit and RateLimit-Policy, as draft-ietf-httpapi-ratelimit-headers-10 has them (RFC 9651 lists).

Quotas are stated in requests where each costs the same; in tokens where the cost is known only afterwards.
"""

from __future__ import annotations

import math
from typing import Final

from dataplane.gateway.policy.resources import Limit

_SLACK: Final = 1e-3
"""Rounding errors must not hide the last token."""
_EXACT: Final = 1 - 1e-12
"""Rounding errors must not add a second: 1,746 requests a day are that many in 86,400.00000000001."""
LARGEST: Final = 999_999_999_999_999
"""The largest integer of structured fields (RFC 9651, 3.3.1). Debts may take longer."""


def policy_item(limit: Limit) -> str:
    """The quota of a limit's bucket: a full bucket in the time that an empty one takes to fill."""
    if not limit.per_second:
        return concurrency_item(limit)
    window = max(1, math.ceil(limit.burst / limit.per_second * _EXACT))
    if limit.cost_header:
        return f'"{limit.name}";q={limit.burst};qu="tokens";w={window}'
    return f'"{limit.name}";q={limit.burst // limit.cost};w={window}'


def concurrency_item(limit: Limit) -> str:
    """The bound of requests under way: a quota of the unit "concurrent-requests", without a window."""
    return f'"{limit.name}";q={limit.max_concurrent};qu="concurrent-requests"'


def remaining_item(limit: Limit, remaining: float, full_in: float) -> str:
    """The remaining quota: `remaining` tokens now, all of them in `full_in` seconds."""
    left = int((remaining if limit.cost_header else remaining / limit.cost) + _SLACK)
    return f'"{limit.name}";r={left};t={min(LARGEST, math.ceil(full_in))}'


def concurrency_left_item(limit: Limit, remaining: int) -> str:
    """The number of further requests that may be under way."""
    return f'"{limit.name}";r={remaining}'
