"""Advice for each response that the gateway makes itself: the source of docs/reference/errors.md.

By decision, as in the access log and in `headgate_refusals_total`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {
    "about_server": "Nothing: this is the response to `OPTIONS *`.",
    "not_found": "Compare host and path with the output of `headgate get routes`. A prefix matches whole segments.",
    "misdirected": (
        "Connect with the name of the host (SNI): the connection was made to another listener of the port. HTTP "
        "clients do so by themselves, unless one connection is used for several hosts."
    ),
    "method_not_allowed": "Use a method from the `Allow` header, or add the method to the route.",
    "bad_request": (
        "Correct the client: `detail` says what is malformed or too large. 501 names a method that the gateway does "
        "not support."
    ),
    "responded": "Nothing: the route answers by itself (`respond`).",
    "redirected": "Nothing: the route redirects (`redirect`).",
    "preflight": "Nothing: the route answers preflights of browsers (`cors`).",
    "origin_denied": "Add the origin to `allow_origins` of the route's `cors`, if its scripts may use the route.",
    "address_denied": "Change `allow_addresses` or `deny_addresses` of the route, if the client may use it.",
    "without_service": (
        "Give a share of `services` of the route a weight and a service: this request belongs to one without."
    ),
    "unusable": (
        "`reason` in the access log says what this data plane cannot do with the route. Upgrade it, or change the "
        "route."
    ),
    "authorization_denied": (
        "Nothing at the gateway: the service of `authorize_with` of the route refused the request. The status is its."
    ),
    "authorization_failed": (
        "Check the service of `authorize_with` of the route: `reason` in the access log says why it gave no answer. "
        "`fail_open` would let requests pass meanwhile."
    ),
    "unauthenticated": (
        "Send a valid token: `reason` in the access log says why this one is not. A wrong clock makes valid tokens "
        "look expired."
    ),
    "forbidden": "Give the user the scopes that `WWW-Authenticate` names, then get a new token.",
    "limited": (
        "Wait for `Retry-After` seconds, or raise the limit that `violated-policies` names. `headgate limits` shows "
        "the keys that use it."
    ),
    "uncounted": (
        "Find out why Redis or the control plane does not answer, or change `on_store_failure` or `without_owner` "
        "of the limit."
    ),
    "saturated": "Raise `max_in_flight` of the service, or add instances.",
    "circuit_open": (
        "Check the service: it failed too often. `headgate circuits` shows when. The gateway tries it again after "
        "`Retry-After` seconds."
    ),
    "not_configured": (
        "Wait for the first snapshot from a control plane: `/ready` on the status port says what is missing."
    ),
    "not_registered": "Start an instance of the service. If one is running, its log says why it does not register.",
    "none_healthy": (
        "Call `check_path` of an instance from the data plane's host: it must answer 2xx within `check_timeout`."
    ),
    "too_large": "Send less, or raise `max_body_bytes` of the route.",
    "client_stalled": "Nothing at the gateway: the client stopped reading the response.",
    "too_many_connections": (
        "Raise `MAX_CONNECTIONS` or `MAX_CONNECTIONS_PER_ADDRESS`, add data planes, or find the client that opens too "
        "many connections."
    ),
    "exhausted": "Raise the limit of open files of the process (`ulimit -n`), or the range of local ports.",
    "unavailable": (
        "Check the instance that the access log names: it refused the connection, or closed it before it answered."
    ),
    "bad_response": "Check the instance that the access log names: its response was not valid HTTP.",
    "timed_out": "Make the instance faster, or raise `timeouts` of the service, or `timeout`, `try_timeout` or "
    "`request_timeout` of the route.",
}
