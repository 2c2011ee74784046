"""The meaning of every field in a data plane's logs: the source of docs/reference/logs.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REQUEST: Final[Mapping[str, str]] = {
    "time": "Time at which the request ended, UTC, in ISO 8601 with milliseconds.",
    "request_id": "Id of the request: the value of `X-Request-Id` in request and response.",
    "client": "IP address of the client; behind `TRUSTED_PROXIES`, the address that they report.",
    "method": "Method of the request; empty if no request line could be read.",
    "host": "Host that the request names.",
    "path": "Path as it was forwarded, or, for refusals, as it was received. Queries are left out, because "
    "they may hold secrets.",
    "status": "Status of the response; 0 if the client left before the response.",
    "decision": (
        "The outcome: `forwarded`, `client_left`, or the [decision](errors.md#data-plane) of a refusal."
    ),
    "reason": "The reason, in words; only if it says more than the decision.",
    "shadowed": (
        "Names of the limits in shadow mode that would have refused the request; only if there are any."
    ),
    "revision": "Revision of the configuration that the decision is based on.",
    "route": "Name of the route that matched; empty for none.",
    "service": "Name of the route's service.",
    "instance": "Id of the instance that answered last; empty for none.",
    "subject": "User or client that the token names; empty without a token.",
    "attempts": "Attempts at instances; more than 1: it was retried.",
    "duration_us": "Microseconds from the request's head to the response's end.",
    "received": "Bytes of the request's body.",
    "sent": "Bytes of the response's body.",
    "trace_id": "Id of the trace (W3C Trace Context); only if the request is part of one.",
}
"""Of the access log: one line for each request."""

CHOSEN: Final[Mapping[str, str]] = {
    "time_clf": "Time at which the request ended, UTC, as Apache and nginx write it, such as "
    "`29/Nov/2026:05:12:54 +0000`.",
    "query": "Query of the request, without its question mark. Values of parameters that hold secrets are `***`.",
    "scheme": "`http` or `https`.",
    "protocol": "Version of HTTP that the client speaks, such as `HTTP/1.1`.",
    "user_agent": "`User-Agent` of the request.",
    "referer": "`Referer` of the request, without its query.",
}
"""Further fields of the access log, which a line has only if they are chosen."""

EVERY: Final[Mapping[str, str]] = {
    "time": "Time of the event, UTC, in ISO 8601 with milliseconds.",
    "level": "`debug`, `info`, `warning`, `error` or `critical`.",
    "logger": "Module that logged the line.",
    "node": "Name of the data plane (`NODE`).",
    "message": "The event. Messages without variable parts can be searched for.",
}
"""Of every line of the log on stderr."""

SOME: Final[Mapping[str, str]] = {
    "before": "The status or state before the change.",
    "certificates": "Number of certificates in use.",
    "circuit": "State of the breaker: `closed`, `half_open`, `open`.",
    "code": "Exit code of a worker; negative: the number of the signal that ended it.",
    "connections": "Largest number of client connections of a worker.",
    "descriptors": "Largest number of files that the process may open.",
    "digest": "Digest of a configuration; equal configurations have equal digests.",
    "dropped": "Log lines that were dropped because the reader was too slow.",
    "error": "The error, in words.",
    "exception": "Traceback of a fault of Headgate itself: report it.",
    "instance": "Id of an instance.",
    "pid": "Process id of a worker.",
    "problems": "All problems of a configuration.",
    "lacks": "The rule that is missing in the ACL of the user in Redis.",
    "reason": "The reason, in words.",
    "revision": "Revision of a configuration.",
    "route": "Name of a route.",
    "seconds": "A duration in seconds.",
    "served": "Revision that is served instead.",
    "shares": "Number of shares of fleet limits that workers of the process before had.",
    "service": "Name of a service.",
    "signal": "What OpenTelemetry could not export: `traces`, `metrics` or `logs`.",
    "status": "Status of an instance: `starting`, `healthy`, `unhealthy`.",
    "worker": "Index of a worker, from 0.",
}
"""Of lines that have them."""
