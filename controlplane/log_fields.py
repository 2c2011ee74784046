"""The meaning of every field in a control plane's log: the source of docs/reference/logs.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REQUEST: Final[Mapping[str, str]] = {
    "request_id": "The id of the request: of `X-Request-Id` in request and response.",
    "method": "Method of the request.",
    "path": "Path of the request, without its query.",
    "status": "Status of the response; 0 where the client left before there was one.",
    "author": "User whose token was shown; absent without a token.",
    "revision": "Revision that the request made.",
    "dry_run": "`true` where the request only asked what would change.",
    "milliseconds": "How long the request took.",
}
"""Of the message `admin request`: one line for each request to the admin API."""

EVERY: Final[Mapping[str, str]] = {
    "time": "When it happened, UTC, in ISO 8601 with milliseconds.",
    "level": "`debug`, `info`, `warning`, `error` or `critical`.",
    "logger": "The module that says so.",
    "message": "What happened. Messages without variable parts can be searched for.",
}
"""Of every line."""

SOME: Final[Mapping[str, str]] = {
    "address": "Address of another control plane, or of the caller.",
    "admin": "Address that the admin API listens on.",
    "author": "User who made a change.",
    "calls": "How many calls were refused since the line before.",
    "capabilities": "What a data plane would have to know, and does not.",
    "controlplane": "Name of another control plane.",
    "code": "gRPC status that a refused call got.",
    "count": "How many.",
    "dropped": "Log lines that were lost because nobody read them.",
    "election": "What is elected for: a key in the store.",
    "endpoints": "Members of etcd that were asked.",
    "epoch": "Epoch of the limits' owner; it grows with every owner.",
    "exception": "Traceback of a fault of Headgate itself: report it.",
    "file": "A file.",
    "grpc": "Address that gRPC listens on.",
    "instance": "The control plane as an instance of the service `headgate-admin`.",
    "kept_as": "Key under which a damaged value is kept.",
    "key": "Key in the store.",
    "node": "Name of a data plane.",
    "part": "What is not known of other control planes.",
    "partition": "Number of a partition of the fleet's limits.",
    "problems": "Everything that is wrong with a configuration.",
    "reason": "Why, in words.",
    "request_id": "The id of the request: of `X-Request-Id`.",
    "resources": "How many resources a snapshot has.",
    "revision": "Revision of the store or of a configuration.",
    "service": "Name of a service.",
    "serving": "Revision that is served instead.",
    "ttl": "Lifetime of a token in seconds.",
    "username": "Name of a user.",
}
"""Of lines that have them."""
