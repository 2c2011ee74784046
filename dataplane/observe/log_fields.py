"""The meaning of every field in a data plane's logs: the source of docs/reference/logs.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REQUEST: Final[Mapping[str, str]] = {
    "time": "When the request ended, UTC, in ISO 8601 with milliseconds.",
    "request_id": "The id of the request: of `X-Request-Id` in request and response.",
    "client": "IP address of the client; behind `TRUSTED_PROXIES` the one that they name.",
    "method": "Method of the request; empty where no request line could be read.",
    "host": "Host that the request names.",
    "path": "Path as it was sent on, or as it came. Queries are left out, because they may hold secrets.",
    "status": "Status of the response; 0 where the client left before there was one.",
    "decision": (
        "What the gateway did: `forwarded`, `client_left`, or the [decision](errors.md#data-plane) of a refusal."
    ),
    "reason": "Why, in words; only where there is more to say than the decision.",
    "shadowed": (
        "Names of the limits that would have refused the request, were they enforced; only where there are any."
    ),
    "revision": "Revision of the configuration that the decision was made with.",
    "route": "Name of the route that matched; empty for none.",
    "service": "Name of the route's service.",
    "instance": "Id of the instance that answered last; empty for none.",
    "subject": "User or client that the token names; empty without a token.",
    "attempts": "Attempts at instances; more than 1: it was retried.",
    "duration_us": "Microseconds from the request's head to the response's end.",
    "received": "Bytes of the request's body.",
    "sent": "Bytes of the response's body.",
    "trace_id": "Id of the trace (W3C Trace Context); only where the request is part of one.",
}
"""Of the access log: one line for each request, on stdout."""

EVERY: Final[Mapping[str, str]] = {
    "time": "When it happened, UTC, in ISO 8601 with milliseconds.",
    "level": "`debug`, `info`, `warning`, `error` or `critical`.",
    "logger": "The module that says so.",
    "node": "Name of the data plane (`NODE`).",
    "message": "What happened. Messages without variable parts can be searched for.",
}
"""Of every line of the log on stderr."""

SOME: Final[Mapping[str, str]] = {
    "before": "The status or state before the change.",
    "certificates": "How many certificates are in use.",
    "circuit": "State of the breaker: `closed`, `half_open`, `open`.",
    "code": "Exit code of a worker; negative: the number of the signal that ended it.",
    "connections": "How many client connections a worker may have.",
    "descriptors": "How many files the process may open.",
    "digest": "Digest of a configuration; equal configurations have equal digests.",
    "dropped": "Log lines that were lost because nobody read them.",
    "error": "What went wrong.",
    "exception": "Traceback of a fault of Headgate itself: report it.",
    "instance": "Id of an instance.",
    "pid": "Process id of a worker.",
    "problems": "Everything that is wrong with a configuration.",
    "lacks": "The rule that the ACL of the user in Redis lacks.",
    "reason": "Why, in words.",
    "revision": "Revision of a configuration.",
    "seconds": "A duration in seconds.",
    "served": "Revision that is served instead.",
    "service": "Name of a service.",
    "status": "Status of an instance: `starting`, `healthy`, `unhealthy`.",
    "worker": "Index of a worker, from 0.",
}
"""Of lines that have them."""
