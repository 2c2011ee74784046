"""The meaning of every field in a control plane's log: the source of docs/reference/logs.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REQUEST: Final[Mapping[str, str]] = {
    "request_id": "Id of the request: the value of `X-Request-Id` in request and response.",
    "method": "Method of the request.",
    "path": "Path of the request, without its query.",
    "status": "Status of the response; 0 if the client left before the response.",
    "author": "User of the request's token; absent without a token.",
    "revision": "Revision of the change that the request made.",
    "dry_run": "`true` for a dry run.",
    "milliseconds": "Duration of the request in milliseconds.",
}
"""Of the message `admin request`: one line for each request to the admin API."""

EVERY: Final[Mapping[str, str]] = {
    "time": "Time of the event, UTC, in ISO 8601 with milliseconds.",
    "level": "`debug`, `info`, `warning`, `error` or `critical`.",
    "logger": "Module that logged the line.",
    "message": "The event. Messages have no variable parts, so that they can be searched for.",
}
"""Of every line."""

SOME: Final[Mapping[str, str]] = {
    "address": "Address of another control plane, or of the caller.",
    "admin": "Address that the admin API listens on.",
    "author": "User who made a change.",
    "calls": "Number of refused calls since the previous line.",
    "capabilities": "Capabilities that the data plane lacks.",
    "controlplane": "Name of another control plane.",
    "code": "gRPC status of a refused call.",
    "count": "A number of items.",
    "dataplanes": "Number of data planes that are tapped.",
    "dropped": "Log lines that were dropped because the reader was too slow.",
    "election": "Key of the election in the store.",
    "endpoints": "Members of etcd that the control plane called; collectors of telemetry.",
    "epoch": "Epoch of the limits' owner; every new owner has a higher one.",
    "exception": "Traceback of a fault of Headgate itself: report it.",
    "file": "A file.",
    "grpc": "Address that gRPC listens on.",
    "instance": "The control plane as an instance of the service `headgate-admin`.",
    "kept_as": "Key under which a damaged value is kept.",
    "issuer": "Issuer of the cluster's service-account tokens.",
    "key": "Key in the store.",
    "node": "Name of a data plane.",
    "part": "The part of the work with other control planes that failed.",
    "partition": "Number of a partition of the fleet's limits.",
    "pool": "Pool of data planes.",
    "problems": "All problems of a configuration.",
    "reason": "The reason, in words.",
    "request_id": "Id of the request: the value of `X-Request-Id`.",
    "resources": "Number of resources in a snapshot.",
    "revision": "Revision of the store or of a configuration.",
    "route": "Name of the route whose requests are tapped; empty: of any.",
    "service": "Name of a service.",
    "serving": "Revision that is served instead.",
    "source": "The source of a service's discovery.",
    "span_id": "Id of the span that was under way, with OpenTelemetry's traces.",
    "trace_id": "Id of its trace.",
    "ttl": "Lifetime of a token in seconds.",
    "username": "Name of a user.",
}
"""Of lines that have them."""
