"""What to do about each answer that the gateway gives by itself: the source of docs/reference/errors.md.

By decision, as in the access log and in `headgate_refusals_total`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {
    "about_server": "Nothing: it is the answer to `OPTIONS *`.",
    "not_found": "Compare host and path with `headgate get routes`. A prefix matches whole segments.",
    "method_not_allowed": "Use a method of `Allow`, or add the method to the route.",
    "bad_request": (
        "Mend the client: the detail says what is malformed or too large. 501 names a method that is not served."
    ),
    "unauthenticated": (
        "Send a token that is valid: the log's `reason` says why this one is not. A clock that is off makes good "
        "tokens look expired."
    ),
    "forbidden": "Give the user the scopes that `WWW-Authenticate` names, then get a new token.",
    "limited": (
        "Wait for `Retry-After` seconds, or raise the limit that `violated-policies` names. `headgate limits` shows "
        "who uses it."
    ),
    "uncounted": (
        "Find out why Redis or the control plane does not answer, or change `on_store_failure` or `without_owner` "
        "of the limit."
    ),
    "saturated": "Raise `max_in_flight` of the service, or add instances.",
    "circuit_open": (
        "Look at the service: it failed too often. `headgate circuits` says when; it is tried again by itself after "
        "`Retry-After` seconds."
    ),
    "not_configured": (
        "Wait for the control plane's first snapshot: `/ready` on the status port says what is missing."
    ),
    "not_registered": "Start an instance of the service, and see in its log why it does not register.",
    "none_healthy": (
        "Call `check_path` of an instance from the data plane's host: it must answer 2xx within `check_timeout`."
    ),
    "too_large": "Send less, or raise `max_body_bytes` of the route.",
    "client_stalled": "Nothing at the gateway: the client stopped reading its response.",
    "too_many_connections": (
        "Raise `MAX_CONNECTIONS` or `MAX_CONNECTIONS_PER_ADDRESS`, add data planes, or find the client that opens "
        "so many."
    ),
    "exhausted": "Raise the limit of open files of the process (`ulimit -n`), or the range of local ports.",
    "unavailable": (
        "Look at the instance that the log names: it refused the connection or closed it before it answered."
    ),
    "bad_response": "Look at the instance that the log names: it answered what is no valid HTTP response.",
    "timed_out": "Make the instance faster, or raise `timeouts` of the service or `timeout` of the route.",
}
